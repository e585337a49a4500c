import { Worker } from 'node:worker_threads';
import { DaybookError, type ErrorCode } from '../errors.js';
import type { VerifierKey } from '../core/verifier-key.js';
import type { LogName } from './rows.js';
import type { RangeFinding, RangeTask } from './verify-range.js';

/** How long threads that have nothing left to do may take to close their connections. */
const endWaitMs = 5_000;

/**
 * Most rows die between two collections when the young generation holds a few batches; with V8's own size a seventh of
 * the time goes into copying them about.
 */
const youngGenerationMaxMb = 64;

/** The module that a thread runs, and Node's options for it. */
export interface WorkerEntry {
  readonly url: URL;
  readonly execArgv?: readonly string[];
}

export interface WorkerSetup {
  readonly url: string;
  /** As pg_export_snapshot gave it; its transaction stays open while threads work. */
  readonly snapshot: string;
  readonly keys: Readonly<Record<LogName, readonly VerifierKey[]>>;
}

/** To a thread: a range, or null to end. */
export type WorkerOrder = RangeTask | null;

/** From a thread. */
export type WorkerReport =
  | { readonly kind: 'idle' }
  | { readonly kind: 'rows'; readonly rows: number }
  | { readonly kind: 'found'; readonly finding: RangeFinding }
  | { readonly kind: 'failed'; readonly error: ErrorMessage };

/** An error without its class, which does not cross between threads; facts are those by which database errors are told. */
export interface ErrorMessage {
  readonly message: string;
  readonly facts: Readonly<Record<string, string>>;
}

interface Order {
  readonly task: RangeTask;
  readonly onRows: (rows: number) => void;
  readonly answer: PromiseWithResolvers<RangeFinding>;
}

/**
 * Threads that verify ranges side by side. The first failure, of the caller's signal, a thread or its connection, fails
 * every order, and disposal ends all threads, with their connections, before it settles.
 */
export class RangeWorkers implements AsyncDisposable {
  readonly #workers: Worker[] = [];
  readonly #idle: Worker[] = [];
  readonly #waiting: Order[] = [];
  readonly #underWay = new Map<Worker, Order>();
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#fail(this.#signal?.reason);
  #failure: { readonly reason: unknown } | null = null;
  #closing = false;

  constructor(entry: WorkerEntry, setup: WorkerSetup, threads: number, signal?: AbortSignal) {
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort);
    for (let number = 0; number < threads; number += 1) this.#start(entry, setup);
    if (signal?.aborted) this.#onAbort();
  }

  /** Verifies one range; ranges begin in the order of calls. Throws what a thread met, and the signal's reason. */
  verify(task: RangeTask, onRows: (rows: number) => void): Promise<RangeFinding> {
    const answer = Promise.withResolvers<RangeFinding>();
    // Whoever waits for an earlier range may never come to this one.
    answer.promise.catch(() => undefined);
    this.#waiting.push({ task, onRows, answer });
    this.#assign();
    return answer.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const isQuiet = this.#failure === null && this.#underWay.size === 0;
    await Promise.all(this.#workers.map((worker) => (isQuiet ? endInOrder(worker) : worker.terminate())));
  }

  #start(entry: WorkerEntry, setup: WorkerSetup): void {
    const worker = new Worker(entry.url, {
      workerData: setup,
      execArgv: entry.execArgv === undefined ? undefined : [...entry.execArgv],
      resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMaxMb },
    });
    this.#workers.push(worker);
    worker.on('message', (report: WorkerReport) => this.#take(worker, report));
    worker.on('error', (err: Error) => this.#fail(threadFailed(err)));
    worker.on('exit', (code) => {
      if (!this.#closing) this.#fail(threadFailed(new Error(`it ended with exit code ${code}`)));
    });
  }

  #take(worker: Worker, report: WorkerReport): void {
    if (report.kind === 'rows') return this.#underWay.get(worker)?.onRows(report.rows);
    if (report.kind === 'failed') return this.#fail(fromErrorMessage(report.error));
    if (report.kind === 'idle') {
      this.#idle.push(worker);
      return this.#assign();
    }
    this.#underWay.get(worker)?.answer.resolve(report.finding);
    this.#underWay.delete(worker);
  }

  #assign(): void {
    if (this.#failure !== null) {
      for (const { answer } of this.#waiting.splice(0)) answer.reject(this.#failure.reason);
      return;
    }
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      const [worker, order] = [this.#idle.shift(), this.#waiting.shift()];
      if (worker === undefined || order === undefined) return;
      this.#underWay.set(worker, order);
      worker.postMessage(order.task satisfies WorkerOrder);
    }
  }

  #fail(reason: unknown): void {
    this.#failure ??= { reason };
    for (const { answer } of this.#underWay.values()) answer.reject(this.#failure.reason);
    this.#underWay.clear();
    this.#assign();
  }
}

/** An idle thread closes its connection first, so that the server need not notice a broken one. */
async function endInOrder(worker: Worker): Promise<void> {
  if (worker.threadId === -1) return;
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  worker.postMessage(null satisfies WorkerOrder);
  const timer = setTimeout(() => void worker.terminate(), endWaitMs);
  await exited;
  clearTimeout(timer);
}

function threadFailed(cause: Error): DaybookError {
  return new DaybookError('INTERNAL', `a verification thread failed: ${cause.message}`, { cause });
}

/** What of an error reaches another thread. */
export function toErrorMessage(err: unknown): ErrorMessage {
  const { message, ...others } = err as Error & Record<string, unknown>;
  const facts = Object.entries(others).filter((fact): fact is [string, string] => typeof fact[1] === 'string');
  return { message: String(message), facts: Object.fromEntries(facts) };
}

/** What `toErrorMessage` was made from, as far as it goes. */
export function fromErrorMessage({ message, facts }: ErrorMessage): Error {
  const { code } = facts;
  if (facts.name === 'DaybookError' && code !== undefined) return new DaybookError(code as ErrorCode, message);
  return Object.assign(new Error(message), facts);
}
