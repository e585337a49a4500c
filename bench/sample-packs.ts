import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { encodeHex } from '../src/core/bytes.js';
import { encodeCheckpoint } from '../src/core/checkpoint.js';
import { PackContents } from '../src/core/pack-contents.js';
import { plainEncoding, type PackEncoding } from '../src/core/pack-encoding.js';
import {
  encodeManifestSignature,
  packFormat,
  summarise,
  type PackFile,
  type PackLog,
  type PackManifest,
} from '../src/core/pack-manifest.js';
import { encodeNote } from '../src/core/signed-note.js';
import { encodeVerifierKey, verifierKeyOf } from '../src/core/verifier-key.js';
import { readTreeRoot } from '../src/ledger/tree-nodes.js';
import { beginSnapshot, endSnapshot } from '../src/ledger/verify-snapshot.js';
import { buildPack, writeManifest } from '../src/packs/build-pack.js';
import { PackFileWriter } from '../src/packs/pack-file-writer.js';
import { readRangeStart, type PackRange } from '../src/packs/pack-range.js';

export interface PackPlace {
  /** Of the role that reads. */
  readonly url: string;
  readonly client: pg.Client;
  /** Folder that packs are made in, and removed from. */
  readonly folder: string;
}

const now = '2026-11-20T00:00:00.000000Z';
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const rawPublicKey = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(12));
export const keyOf = (log: string) => verifierKeyOf(`bench.example/${log}`, rawPublicKey);

const signAsBench = (bytes: Uint8Array) => [
  encodeManifestSignature(encodeVerifierKey(keyOf('audit')), sign(null, bytes, privateKey)),
];

const logOfEmptyDay = (log: string): PackLog => ({
  origin: keyOf(log).name,
  first_index: null,
  last_index: null,
  count: 0,
  expected: 0,
  previous_tree_size: 0,
  previous_subtrees: [],
  tree_size: 0,
  root_hash: '00'.repeat(32),
  chain_before: '00'.repeat(32),
  chain_after: '00'.repeat(32),
});

const manifestOfEmptyDay: Omit<PackManifest, 'files' | 'summary'> = {
  format: packFormat,
  kind: 'DAY',
  created_at: now,
  export_date: '2026-11-19',
  period: { from: '2026-11-19T00:00:00.000000Z', to: now },
  generator: { name: 'bench', version: '1', git_commit: null },
  database: { system_identifier: '1', lsn: '0/0', snapshot_at: now },
  clock: { source: 'bench', service_offset_ms: 0 },
  logs: { signals: logOfEmptyDay('signals'), audit: logOfEmptyDay('audit') },
  encoding: plainEncoding,
  totals: new PackContents().totals,
  anchors: [],
  previous_manifest: null,
};

/** Builds the pack of the log's first `entries`, has `check` look at it, and removes it. */
export async function makePack(
  { url, client, folder }: PackPlace,
  entries: number,
  encoding: PackEncoding,
  check: (pack: string) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const place = join(folder, randomUUID());
  const audit = await rangeOf(client, 'audit', entries);
  const signals = await rangeOf(client, 'signals', 0);
  await beginSnapshot(client);
  try {
    await buildPack({
      folder: place,
      kind: 'DAY',
      date: '2026-11-19',
      period: manifestOfEmptyDay.period,
      client,
      thread: { url },
      ranges: { audit, signals },
      anchors: [],
      anchorEvidence: [],
      configSnapshot: '{}',
      configDiff: '',
      encoding,
      generator: manifestOfEmptyDay.generator,
      database: manifestOfEmptyDay.database,
      clock: manifestOfEmptyDay.clock,
      previousManifest: null,
      createdAt: now,
      sign: signAsBench,
      signal: new AbortController().signal,
    });
  } finally {
    await endSnapshot(client);
  }
  await check(place);
  await rm(place, { recursive: true });
}

/**
 * Writes so many files of these lines as a pack writes its own, each hashed and flushed to disk, and the signed manifest that lists them. The
 * other members of the manifest are those of an empty day.
 */
export async function makeManifest(folder: string, lines: readonly string[], filesOfManifest: number): Promise<void> {
  const place = join(folder, randomUUID());
  await mkdir(place);
  const files: Record<string, PackFile> = {};
  const linesOfFile = Math.ceil(lines.length / filesOfManifest);
  for (let number = 0; number < filesOfManifest; number += 1) {
    const name = `${String(number).padStart(3, '0')}.jsonl`;
    await using writer = await PackFileWriter.create(place, name, plainEncoding);
    for (const line of lines.slice(number * linesOfFile, (number + 1) * linesOfFile)) await writer.write(line);
    files[name] = await writer.finish({ rows: linesOfFile, firstIndex: null, lastIndex: null, query: null }, now);
  }
  const { manifest } = await writeManifest(
    place,
    { ...manifestOfEmptyDay, files, summary: summarise(files) },
    signAsBench,
  );
  if (manifest.summary.total_files !== filesOfManifest) throw new Error('the manifest lists another number of files');
  await rm(place, { recursive: true });
}

async function rangeOf(client: pg.Client, log: 'audit' | 'signals', entries: number): Promise<PackRange> {
  const root = await readTreeRoot(client, log, entries);
  const key = keyOf(log);
  const text = encodeCheckpoint({ origin: key.name, size: entries, root, extensions: [] });
  const signature = sign(null, Buffer.from(text), privateKey);
  const note = encodeNote({ text, signatures: [{ name: key.name, keyId: key.keyId, signature }] });
  const head = { treeSize: entries, rootHash: encodeHex(root), note };
  return { origin: key.name, before: null, head, ...(await readRangeStart(client, log, 0)) };
}
