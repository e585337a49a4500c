import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseCheckpoint } from '../../src/core/checkpoint.js';
import { parseNote } from '../../src/core/signed-note.js';
import { logNames, type LogName } from '../../src/ledger/rows.js';

/** Between two looks at one source. */
const pollMs = 20;

/** A checkpoint that somebody saw. */
export interface SeenCheckpoint {
  readonly log: LogName;
  readonly size: number;
  readonly note: string;
  /** Who showed it first. */
  readonly from: string;
}

/** Where checkpoints show: null while there is none, or nobody answers. */
interface Source {
  readonly from: string;
  readonly log: LogName;
  readonly read: () => Promise<string | null>;
}

/** Watches what auditors could have seen, all the time, and keeps each checkpoint. Disposal ends the watching. */
export class CheckpointCollector implements AsyncDisposable {
  readonly #seen = new Map<string, SeenCheckpoint>();
  readonly #faults: string[] = [];
  readonly #shown = new Map<string, number>();
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>[] = [];

  /** Every different note, in order of appearance. */
  get seen(): readonly SeenCheckpoint[] {
    return [...this.#seen.values()];
  }

  /** Sources that showed a smaller tree after a larger one, or what is no checkpoint. */
  get faults(): readonly string[] {
    return this.#faults;
  }

  /** How often each source showed another checkpoint than before. */
  get shown(): ReadonlyMap<string, number> {
    return this.#shown;
  }

  /** The checkpoints that a node serves. */
  watchNode(name: string, url: string): void {
    this.#watch(`the node ${name}`, async (log) => {
      const response = await fetch(`${url}/logs/${log}/checkpoint`, { signal: this.#closing.signal });
      return response.ok ? await response.text() : null;
    });
  }

  /** Files that are replaced by later ones: what a store publishes, what a node keeps. */
  watchFiles(from: string, pathOf: (log: LogName) => string): void {
    this.#watch(from, (log) => readFile(pathOf(log), 'utf8'));
  }

  /** Takes the days' roots that a store in a folder holds now. */
  async takeRoots(store: string): Promise<void> {
    for (const log of logNames) {
      const folder = join(store, log, 'roots');
      // Before the first one there is no folder.
      for (const name of await readdir(folder).catch(() => [])) {
        if (name.endsWith('.checkpoint')) this.take(name, log, await readFile(join(folder, name), 'utf8'));
      }
    }
  }

  /** Keeps a note and returns its size. */
  take(from: string, log: LogName, note: string): number {
    const { size } = parseCheckpoint(parseNote(note).text);
    if (!this.#seen.has(note)) this.#seen.set(note, { log, size, note, from });
    return size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#watching);
  }

  #watch(from: string, read: (log: LogName) => Promise<string | null>): void {
    for (const log of logNames) this.#watching.push(this.#run({ from, log, read: () => read(log) }));
  }

  /** One look after the other, so that a later answer is a later state. */
  async #run(source: Source): Promise<void> {
    let [last, lastSize] = ['', -1];
    while (!this.#closing.signal.aborted) {
      const note = await source.read().catch(() => null);
      if (note !== null && note !== last) lastSize = this.#takeNext(source, note, lastSize);
      last = note ?? last;
      await pause(pollMs);
    }
  }

  #takeNext({ from, log }: Source, note: string, lastSize: number): number {
    this.#shown.set(from, (this.#shown.get(from) ?? 0) + 1);
    try {
      const size = this.take(from, log, note);
      if (size < lastSize) this.#faults.push(`${from} showed ${size} entries of ${log} after ${lastSize}`);
      return size;
    } catch (error) {
      this.#faults.push(`${from} showed what is no checkpoint of ${log}: ${(error as Error).message}: ${note}`);
      return lastSize;
    }
  }
}
