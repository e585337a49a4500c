import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditRow } from '../ledger/rows.js';
import { lockFolder } from '../storage/folder-lock.js';
import { compress, cutDayFiles, dayFilePath, listDayFiles, syncFolder } from './day-files.js';
import { readEcsIndex } from './encode-ecs.js';
import { readJsonlIndex } from './encode-jsonl-line.js';
import { sealDetails, sealLine, type LineKey } from './sealed-line.js';
import { ecsDocumentOf, jsonlLineOf } from './shared-encoding.js';
import type { FileSinkConfig } from './sink-config.js';
import { reasonOf, sinkUnavailable, type SinkTarget } from './sink-target.js';

const batchEntriesMax = 1_000;

/** The folder, made where it is missing; others than its group see nothing of it. */
export async function makeLogFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o750 });
}

/**
 * Files by the UTC day of recording, one entry a line. Recording times never run backwards, so each day's file holds a
 * contiguous range of indexes, and an entry of a later day means that the day before is finished: it is compressed then.
 *
 * A delivery is on the disk when it returns. A crash leaves lines beyond the position, or a torn one: `open` cuts them off,
 * so that a file holds each index once. A lock in the folder keeps out a writer that lost its place without knowing.
 */
export class FileTarget implements SinkTarget {
  readonly batchEntriesMax = batchEntriesMax;
  readonly unconfirmedEntriesMax = 0;
  readonly unconfirmedMsMax = 0;
  readonly #config: FileSinkConfig;
  readonly #key: LineKey | null;
  #lock: Disposable | null = null;
  #active: { readonly day: string; readonly handle: FileHandle } | null = null;

  constructor(config: FileSinkConfig, key: LineKey | null) {
    this.#config = config;
    this.#key = key;
  }

  async open(position: bigint): Promise<bigint> {
    const { folder, gzip } = this.#config;
    return this.#mapErrors(async () => {
      await makeLogFolder(folder);
      this.#lock = await lockFolder(join(folder, '.daybook-lock'));
      if (this.#lock === null) throw sinkUnavailable(folder, 'another process writes into this folder');
      const resumed = await cutDayFiles(folder, position, this.#readIndex);
      // The newest file may get more lines.
      const finished = (await listDayFiles(folder)).slice(0, -1).filter(({ isCompressed }) => !isCompressed);
      if (gzip) for (const { path } of finished) await compress(folder, path);
      return resumed;
    });
  }

  async deliver(rows: readonly AuditRow[], signal: AbortSignal): Promise<number> {
    await this.#mapErrors(async () => {
      for (let from = 0; from < rows.length;) {
        const day = dayOf(rows[from]);
        let to = from + 1;
        while (to < rows.length && dayOf(rows[to]) === day) to += 1;
        const handle = await this.#fileOf(day, signal);
        await handle.appendFile(this.#linesOf(rows.slice(from, to)));
        await handle.datasync();
        from = to;
      }
    });
    return rows.length;
  }

  confirm(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    const active = this.#active;
    this.#active = null;
    try {
      await active?.handle.close();
    } finally {
      this.#lock?.[Symbol.dispose]();
      this.#lock = null;
    }
  }

  get #readIndex() {
    return this.#config.kind === 'ecs' ? readAnyIndex : readJsonlIndex;
  }

  #linesOf(rows: readonly AuditRow[]): string {
    const encode = this.#config.kind === 'ecs' ? ecsDocumentOf : jsonlLineOf;
    const lines = rows.map((row) => this.#seal(encode(row), row.chainIndex));
    return `${lines.join('\n')}\n`;
  }

  #seal(line: string, index: string): string {
    if (this.#key === null) return line;
    const sealsDetails = this.#config.kind === 'jsonl' && this.#config.encrypt === 'details';
    return sealsDetails ? sealDetails(line, this.#key) : sealLine(line, index, this.#key);
  }

  async #fileOf(day: string, signal: AbortSignal): Promise<FileHandle> {
    if (this.#active?.day === day) return this.#active.handle;
    const { folder, gzip } = this.#config;
    const finished = this.#active;
    this.#active = null;
    await finished?.handle.close();
    if (finished !== null && gzip) await compress(folder, dayFilePath(folder, finished.day), signal);
    this.#active = { day, handle: await open(dayFilePath(folder, day), 'a', 0o640) };
    await syncFolder(folder);
    return this.#active.handle;
  }

  async #mapErrors<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: unknown }).code === 'SINK_UNAVAILABLE') throw error;
      throw sinkUnavailable(this.#config.folder, reasonOf(error), error);
    }
  }
}

/** Encrypted lines tell their index in the same way whatever they hold, and a folder may hold both sorts. */
function readAnyIndex(line: string): bigint | null {
  return readEcsIndex(line) ?? readJsonlIndex(line);
}

function dayOf(row: AuditRow | undefined): string {
  return (row?.recordedAt ?? '').slice(0, 10).replaceAll('-', '');
}
