import { derivedFiles, headerOf, PackContents, type DerivedFile, type PackTotals } from '../core/pack-contents.js';
import type { PackEncoding } from '../core/pack-encoding.js';
import type { PackFile, PackLog } from '../core/pack-manifest.js';
import { assertContinuous, readBodiesFrom, type ChainedBody } from '../ledger/cursor-reads.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';
import { PackFileWriter } from './pack-file-writer.js';
import type { PackRange, PackRanges } from './pack-range.js';

/** Rows in memory at a time, 13 MB where each body has its 64 KB. */
const pageRows = 200;

/** What entries are written, and where; as plain data, so that a thread can be given it. */
export interface EntriesRequest {
  readonly folder: string;
  readonly ranges: PackRanges;
  readonly encoding: PackEncoding;
  /** RFC 3339; each file's time in the manifest. */
  readonly createdAt: string;
}

export interface EntriesProgress {
  readonly onProgress?: ((written: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal;
}

export interface WrittenEntries {
  /** By name. */
  readonly files: Readonly<Record<string, PackFile>>;
  readonly logs: Readonly<Record<LogName, PackLog>>;
  readonly totals: PackTotals;
}

interface EntriesWork extends EntriesRequest, EntriesProgress {
  /** In a snapshot: every file comes from it. */
  readonly client: Queryable;
  readonly contents: PackContents;
  readonly files: Record<string, PackFile>;
}

/** Writes the logs' entries and what is derived from them. Throws LEDGER_BROKEN where a log has a gap. */
export async function writePackEntries(
  client: Queryable,
  request: EntriesRequest,
  progress: EntriesProgress = {},
): Promise<WrittenEntries> {
  const contents = new PackContents();
  const work: EntriesWork = { ...request, ...progress, client, contents, files: {} };
  const logs = await writeLogs(work);
  return { files: work.files, logs, totals: contents.totals };
}

async function writeLogs(work: EntriesWork): Promise<Record<LogName, PackLog>> {
  const { contents, files } = work;
  await using derived = await DerivedWriters.create(work);
  const audit = await writeLog(work, 'audit', async (index, body) => {
    for (const { file, line } of contents.takeAudit(index, body)) await derived.write(file, index, line);
  });
  const signals = await writeLog(work, 'signals', async (index, body) => {
    for (const { file, line } of contents.takeSignal(index, body)) await derived.write(file, index, line);
  });
  for (const file of derivedFiles) files[file] = await derived.finish(file, work.createdAt);
  return { audit, signals };
}

async function writeLog(
  work: EntriesWork,
  log: LogName,
  take: (index: number, body: string) => Promise<void>,
): Promise<PackLog> {
  const range = work.ranges[log];
  const [begin, end] = [range.before?.treeSize ?? 0, range.head.treeSize];
  await using writer = await PackFileWriter.create(work.folder, `${log}.jsonl`, work.encoding);
  let chainAfter = range.chainBefore;
  let before: ChainedBody | undefined;
  for (let from = begin; from < end;) {
    work.signal?.throwIfAborted();
    const rows = await readBodiesFrom(work.client, log, BigInt(from), Math.min(pageRows, end - from));
    assertContinuous(log, rows, BigInt(from), before);
    assertRead(log, rows, from);
    for (const row of rows) {
      const waiting = writer.write(`${row.body}\n`);
      if (waiting !== undefined) await waiting;
      await take(Number(row.chainIndex), row.body);
    }
    before = rows.at(-1);
    chainAfter = before?.chainHash ?? chainAfter;
    from += rows.length;
    work.onProgress?.(from - begin, end - begin);
  }
  const indexes = end === begin ? { firstIndex: null, lastIndex: null } : { firstIndex: begin, lastIndex: end - 1 };
  const query = `body of each entry of the ${log} log with ${begin} <= index < ${end}, by index`;
  work.files[`${log}.jsonl`] = await writer.finish({ rows: end - begin, ...indexes, query }, work.createdAt);
  return describeRange(range, begin, end, chainAfter);
}

function assertRead(log: LogName, rows: readonly unknown[], from: number): void {
  if (rows.length === 0) throw new RangeError(`entry ${from} of the ${log} log is not in the snapshot`);
}

function describeRange(range: PackRange, begin: number, end: number, chainAfter: string): PackLog {
  return {
    origin: range.origin,
    first_index: end === begin ? null : begin,
    last_index: end === begin ? null : end - 1,
    count: end - begin,
    expected: end - begin,
    previous_tree_size: begin,
    previous_subtrees: range.previousSubtrees,
    tree_size: end,
    root_hash: range.head.rootHash,
    chain_before: range.chainBefore,
    chain_after: chainAfter,
  };
}

/** The files derived from entries, each with its header. Owned by one build. */
class DerivedWriters implements AsyncDisposable {
  readonly #facts = new Map<DerivedFile, { rows: number; firstIndex: number | null; lastIndex: number | null }>();

  private constructor(private readonly writers: ReadonlyMap<DerivedFile, PackFileWriter>) {}

  static async create({ folder, encoding }: EntriesRequest): Promise<DerivedWriters> {
    const writers = new Map<DerivedFile, PackFileWriter>();
    for (const file of derivedFiles) {
      const writer = await PackFileWriter.create(folder, file, encoding);
      await writer.write(headerOf(file));
      writers.set(file, writer);
    }
    return new DerivedWriters(writers);
  }

  async write(file: DerivedFile, index: number, line: string): Promise<void> {
    const facts = this.#facts.get(file) ?? { rows: 0, firstIndex: null, lastIndex: null };
    this.#facts.set(file, { rows: facts.rows + 1, firstIndex: facts.firstIndex ?? index, lastIndex: index });
    const waiting = this.writers.get(file)?.write(line);
    if (waiting !== undefined) await waiting;
  }

  finish(file: DerivedFile, modified: string): Promise<PackFile> {
    const writer = this.writers.get(file);
    if (writer === undefined) throw new TypeError(`${file} is no derived file`);
    const facts = this.#facts.get(file) ?? { rows: 0, firstIndex: null, lastIndex: null };
    return writer.finish({ ...facts, query: `what docs/packs.md derives for ${file} from the entries` }, modified);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const writer of this.writers.values()) await writer[Symbol.asyncDispose]();
  }
}
