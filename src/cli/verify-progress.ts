import { SingleBar } from 'cli-progress';
import type { LogName } from '../ledger/rows.js';
import type { VerifyProgress } from '../ledger/verify-log.js';

/** Between plain lines, where no terminal can redraw one. */
const plainIntervalMs = 2_000;

/** Shows how far a verification is and its rate: a bar on a terminal, else a line every two seconds. */
export class VerifyProgressReport {
  #bar: SingleBar | null = null;
  #log: LogName | null = null;
  #startedMs = 0;
  #writtenMs = 0;

  constructor(private readonly output: NodeJS.WriteStream) {}

  update(progress: VerifyProgress): void {
    if (progress.log !== this.#log) this.#begin(progress);
    const nowMs = performance.now();
    const rate = Math.round(progress.checked / Math.max((nowMs - this.#startedMs) / 1000, 0.001));
    this.#bar?.update(progress.checked, { rate });
    if (this.#bar !== null || nowMs - this.#writtenMs < plainIntervalMs) return;
    this.#writtenMs = nowMs;
    this.output.write(`${progress.log}: ${progress.checked} of ${progress.total} entries checked, ${rate}/s\n`);
  }

  /** Leaves the last state on the screen. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
    this.#log = null;
  }

  #begin({ log, total }: VerifyProgress): void {
    this.stop();
    this.#log = log;
    this.#startedMs = performance.now();
    this.#writtenMs = this.#startedMs;
    if (!this.output.isTTY) return;
    this.#bar = new SingleBar({
      format: `${log} [{bar}] {value}/{total} entries, {rate}/s, {eta_formatted} left`,
      stream: this.output,
      hideCursor: true,
    });
    this.#bar.start(total, 0, { rate: 0 });
  }
}
