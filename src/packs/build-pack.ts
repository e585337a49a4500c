import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type pg from 'pg';
import { derivedFiles, headerOf, PackContents, type DerivedFile } from '../core/pack-contents.js';
import type { PackEncoding } from '../core/pack-encoding.js';
import {
  encodeManifestFile,
  hashManifestFile,
  manifestBytes,
  manifestName,
  packFormat,
  summarise,
  type ManifestSignature,
  type PackFile,
  type PackLog,
  type PackManifest,
} from '../core/pack-manifest.js';
import { assertContinuous, readRowsFrom, type RowOf } from '../ledger/cursor-reads.js';
import type { LogName } from '../ledger/rows.js';
import { PackFileWriter } from './pack-file-writer.js';
import { renderPackReport } from './pack-report.js';
import type { PackRange, PackRanges } from './pack-range.js';

/** Rows in memory at a time; a body has at most 64 KB. */
const pageRows = 500;

export interface PackRequest {
  /** Does not exist yet; made with mode 0700. */
  readonly folder: string;
  readonly kind: PackManifest['kind'];
  readonly date: string;
  readonly period: PackManifest['period'];
  /** In a snapshot of its own (beginSnapshot): every file comes from it. */
  readonly client: pg.ClientBase;
  readonly ranges: PackRanges;
  readonly anchors: PackManifest['anchors'];
  /** What stands in anchors.json beside what the manifest says: the evidence, base64. */
  readonly anchorEvidence: readonly object[];
  readonly configSnapshot: string;
  readonly configDiff: string;
  readonly encoding: PackEncoding;
  readonly generator: PackManifest['generator'];
  readonly database: PackManifest['database'];
  readonly clock: PackManifest['clock'];
  readonly previousManifest: PackManifest['previous_manifest'];
  /** RFC 3339. */
  readonly createdAt: string;
  readonly sign: (bytes: Uint8Array) => ManifestSignature[];
  readonly onProgress?: (written: number, total: number) => void;
  readonly signal: AbortSignal;
}

export interface BuiltPack {
  readonly manifest: PackManifest;
  readonly manifestSha256: string;
}

/**
 * Writes an evidence pack into a folder: entries first, in the order of the logs, what is derived from them beside, then
 * report and manifest. Memory does not grow with the number of entries. A crash leaves a folder without a manifest, which
 * is no pack. Throws LEDGER_BROKEN where a log has a gap.
 */
export async function buildPack(request: PackRequest): Promise<BuiltPack> {
  await mkdir(request.folder, { recursive: true, mode: 0o700 });
  const files: Record<string, PackFile> = {};
  const contents = new PackContents();
  const { signals, audit } = await writeEntries(request, contents, files);
  await writeStatement(request, files);
  const base: Omit<PackManifest, 'summary' | 'files'> = {
    format: packFormat,
    kind: request.kind,
    created_at: request.createdAt,
    export_date: request.date,
    period: request.period,
    generator: request.generator,
    database: request.database,
    clock: request.clock,
    logs: { signals, audit },
    encoding: request.encoding,
    totals: request.encoding.recipients.length > 0 ? null : contents.totals,
    anchors: request.anchors,
    previous_manifest: request.previousManifest,
  };
  await writeWhole(request, files, 'report.html', renderPackReport({ ...base, totals: contents.totals }, files));
  return writeManifest(request.folder, { ...base, files, summary: summarise(files) }, request.sign);
}

/** Signs a manifest and writes it into the folder of its files, which it makes a pack. */
async function writeManifest(folder: string, manifest: PackManifest, sign: PackRequest['sign']): Promise<BuiltPack> {
  const file = Buffer.from(encodeManifestFile(manifest, sign(manifestBytes(manifest))));
  await writeDurably(join(folder, manifestName), file);
  return { manifest, manifestSha256: hashManifestFile(file) };
}

async function writeEntries(request: PackRequest, contents: PackContents, files: Record<string, PackFile>) {
  await using derived = await DerivedWriters.create(request);
  const audit = await writeLog(request, 'audit', files, async (index, body) => {
    for (const { file, line } of contents.takeAudit(index, body)) await derived.write(file, index, line);
  });
  const signals = await writeLog(request, 'signals', files, async (index, body) => {
    for (const { file, line } of contents.takeSignal(index, body)) await derived.write(file, index, line);
  });
  for (const file of derivedFiles) files[file] = await derived.finish(file, request.createdAt);
  return { audit, signals };
}

async function writeLog(
  request: PackRequest,
  log: LogName,
  files: Record<string, PackFile>,
  take: (index: number, body: string) => Promise<void>,
): Promise<PackLog> {
  const range = request.ranges[log];
  const [begin, end] = [range.before?.treeSize ?? 0, range.head.treeSize];
  await using writer = await PackFileWriter.create(request.folder, `${log}.jsonl`, request.encoding);
  let chainAfter = range.chainBefore;
  let before: RowOf[LogName] | undefined;
  for (let from = begin; from < end;) {
    request.signal.throwIfAborted();
    const rows = await readRowsFrom(request.client, log, BigInt(from), Math.min(pageRows, end - from));
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
    request.onProgress?.(from - begin, end - begin);
  }
  const indexes = end === begin ? { firstIndex: null, lastIndex: null } : { firstIndex: begin, lastIndex: end - 1 };
  const query = `body of each entry of the ${log} log with ${begin} <= index < ${end}, by index`;
  files[`${log}.jsonl`] = await writer.finish({ rows: end - begin, ...indexes, query }, request.createdAt);
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

/** What proves the entries, and the configuration they were made under. */
async function writeStatement(request: PackRequest, files: Record<string, PackFile>): Promise<void> {
  for (const log of ['audit', 'signals'] as const) {
    const { before, head } = request.ranges[log];
    await writeWhole(request, files, `${log}.checkpoint`, head.note);
    await writeWhole(request, files, `${log}.previous.checkpoint`, before?.note ?? '');
  }
  await writeWhole(request, files, 'anchors.json', `${JSON.stringify(request.anchorEvidence, null, 2)}\n`);
  await writeWhole(request, files, 'config_snapshot.json', request.configSnapshot);
  await writeWhole(request, files, 'config.diff', request.configDiff);
}

async function writeWhole(
  request: PackRequest,
  files: Record<string, PackFile>,
  name: string,
  text: string,
): Promise<void> {
  await using writer = await PackFileWriter.create(request.folder, name, request.encoding);
  await writer.write(text);
  const facts = { rows: null, firstIndex: null, lastIndex: null, query: null };
  files[name] = await writer.finish(facts, request.createdAt);
}

/** The files derived from entries, each with its header. Owned by one build. */
class DerivedWriters implements AsyncDisposable {
  readonly #facts = new Map<DerivedFile, { rows: number; firstIndex: number | null; lastIndex: number | null }>();

  private constructor(private readonly writers: ReadonlyMap<DerivedFile, PackFileWriter>) {}

  static async create({ folder, encoding }: PackRequest): Promise<DerivedWriters> {
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

/** The folder is flushed too: a manifest that is there stands for everything it names. */
async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
