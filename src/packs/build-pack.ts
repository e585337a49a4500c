import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type pg from 'pg';
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
  type PackManifest,
} from '../core/pack-manifest.js';
import { exportSnapshot } from '../ledger/verify-snapshot.js';
import { writeEntriesInThread, type EntriesThread } from './entries-thread.js';
import { PackFileWriter } from './pack-file-writer.js';
import { renderPackReport } from './pack-report.js';
import type { PackRanges } from './pack-range.js';
import { writePackEntries, type WrittenEntries } from './write-pack-entries.js';

/** From so many entries on they are written by a thread. */
const threadWorthEntries = 20_000;

export interface PackRequest {
  /** Does not exist yet; made with mode 0700. */
  readonly folder: string;
  readonly kind: PackManifest['kind'];
  readonly date: string;
  readonly period: PackManifest['period'];
  /** In a snapshot of its own (beginSnapshot): every file comes from it. */
  readonly client: pg.ClientBase;
  /** What writes the entries of a large pack; without it the caller's thread does, and its heap grows with garbage. */
  readonly thread?: EntriesThread;
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
  const { logs, totals, ...written } = await writeEntries(request);
  const files: Record<string, PackFile> = { ...written.files };
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
    logs: { signals: logs.signals, audit: logs.audit },
    encoding: request.encoding,
    totals: request.encoding.recipients.length > 0 ? null : totals,
    anchors: request.anchors,
    previous_manifest: request.previousManifest,
  };
  await writeWhole(request, files, 'report.html', renderPackReport({ ...base, totals }, files));
  return writeManifest(request.folder, { ...base, files, summary: summarise(files) }, request.sign);
}

/** Signs a manifest and writes it into the folder of its files, which it makes a pack. */
export async function writeManifest(
  folder: string,
  manifest: PackManifest,
  sign: PackRequest['sign'],
): Promise<BuiltPack> {
  const file = Buffer.from(encodeManifestFile(manifest, sign(manifestBytes(manifest))));
  await writeDurably(join(folder, manifestName), file);
  return { manifest, manifestSha256: hashManifestFile(file) };
}

/** Starting a thread costs more than it saves for few. */
async function writeEntries(request: PackRequest): Promise<WrittenEntries> {
  const { client, thread, folder, ranges, encoding, createdAt, onProgress, signal } = request;
  const entries = { folder, ranges, encoding, createdAt };
  if (thread === undefined || countEntries(ranges) < threadWorthEntries) {
    return writePackEntries(client, entries, { onProgress, signal });
  }
  return writeEntriesInThread(thread, await exportSnapshot(client), entries, { onProgress, signal });
}

function countEntries({ signals, audit }: PackRanges): number {
  return [signals, audit].reduce((sum, { before, head }) => sum + head.treeSize - (before?.treeSize ?? 0), 0);
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
