import { rowBytes } from './recent-rows.js';

/**
 * What a feed delivers: the rows of positions [from, cursor) that pass the filter. `head` is the size of the log when
 * the frame was made. A frame is a fact about an append-only log and stays true.
 */
export interface Frame<Row> {
  readonly rows: readonly Row[];
  readonly from: bigint;
  readonly cursor: bigint;
  readonly head: bigint;
}

/** Finished frames kept for subscribers that come to the same position a little later. */
const recentFramesMax = 32;
const recentBytesMax = 4 * 1024 * 1024;

/** The shortest and longest that rows wait for others to share their frame. */
const restMsMin = 1;
const restMsMax = 50;

interface Joiner<Row> {
  readonly resolve: (frame: Frame<Row> | null) => void;
  readonly reject: (error: unknown) => void;
}

interface Making<Row> {
  readonly joiners: Set<Joiner<Row>>;
  readonly abandoned: AbortController;
}

/**
 * Lets feeds with the same filter at the same position share one frame, the very same object, also while it is still
 * being waited for. So identical subscribers stay in step, and what is derived from a frame can be shared by identity.
 */
export class SharedFrames<Row extends { chainIndex: string; body: string }> {
  readonly #making = new Map<string, Making<Row>>();
  readonly #recent = new Map<string, { frame: Frame<Row>; bytes: number }>();
  #recentBytes = 0;
  #resting: Promise<void> | null = null;

  /**
   * Waits until the last shared frame is handed out, and as long again. Under load rows gather meanwhile and go out
   * together, and half of the time is left for other work; a single row after a pause is not delayed.
   */
  async rest(): Promise<void> {
    await this.#resting;
  }

  /**
   * The frame under `key`, made by `make` where nobody has or does. Null when `signal` aborts first; `make` is aborted
   * once nobody waits for it. Its errors reach all who wait.
   */
  take(
    key: string,
    signal: AbortSignal,
    make: (abandoned: AbortSignal) => Promise<Frame<Row>>,
  ): Promise<Frame<Row> | null> {
    if (signal.aborted) return Promise.resolve(null);
    const recent = this.#recent.get(key);
    if (recent !== undefined) return Promise.resolve(recent.frame);
    const making = this.#making.get(key) ?? this.#begin(key, make);
    return new Promise((resolve, reject) => {
      const leave = () => {
        making.joiners.delete(joiner);
        resolve(null);
        if (making.joiners.size > 0) return;
        if (this.#making.get(key) === making) this.#making.delete(key);
        making.abandoned.abort();
      };
      const stay = () => signal.removeEventListener('abort', leave);
      const joiner: Joiner<Row> = {
        resolve: (frame) => {
          stay();
          resolve(frame);
        },
        reject: (error) => {
          stay();
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it came
          reject(error);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      making.joiners.add(joiner);
    });
  }

  #begin(key: string, make: (abandoned: AbortSignal) => Promise<Frame<Row>>): Making<Row> {
    const making: Making<Row> = { joiners: new Set(), abandoned: new AbortController() };
    this.#making.set(key, making);
    const finish = (settle: (joiner: Joiner<Row>) => void) => {
      if (this.#making.get(key) === making) this.#making.delete(key);
      if (making.joiners.size > 1) this.#measureHandingOut();
      for (const joiner of making.joiners) settle(joiner);
      making.joiners.clear();
    };
    make(making.abandoned.signal).then(
      (frame) => {
        // A frame that covers nothing would be served again at once, for ever.
        if (frame.cursor > frame.from) this.#remember(key, frame);
        finish((joiner) => joiner.resolve(frame));
      },
      (error: unknown) => finish((joiner) => joiner.reject(error)),
    );
    return making;
  }

  /** Subscribers send within the turn of the event loop in which they get their frame. */
  #measureHandingOut(): void {
    const startedMs = performance.now();
    this.#resting = new Promise((resolve) => {
      setImmediate(() => {
        const tookMs = performance.now() - startedMs;
        if (tookMs < restMsMin) resolve();
        else setTimeout(resolve, Math.min(restMsMax, tookMs));
      });
    });
  }

  #remember(key: string, frame: Frame<Row>): void {
    const bytes = frame.rows.reduce((sum, row) => sum + rowBytes(row), 0);
    this.#recent.set(key, { frame, bytes });
    this.#recentBytes += bytes;
    for (const [oldest, { bytes: oldestBytes }] of this.#recent) {
      const fits = this.#recent.size <= recentFramesMax && this.#recentBytes <= recentBytesMax;
      if (fits || this.#recent.size === 1) return;
      this.#recent.delete(oldest);
      this.#recentBytes -= oldestBytes;
    }
  }
}
