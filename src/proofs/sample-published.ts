import { randomInt } from 'node:crypto';
import { concatBytes, decodeUtf8, equalBytes } from '../core/bytes.js';
import { parseCheckpoint } from '../core/checkpoint.js';
import { decodeEntryBundle } from '../core/entry-bundle.js';
import type { LogBreak } from '../core/log-breaks.js';
import { hashLeafBytes } from '../core/merkle-tree.js';
import { parseNote } from '../core/signed-note.js';
import { entriesPath, hashTilePath, tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { CheckpointFiles } from './known-checkpoints.js';
import { checkpointKey } from './publish-log.js';
import { readEntryBundle, readHashTile } from './static-layout.js';

/** Full tiles that one look draws: of a store that lost a twentieth, 19 of 20 looks notice it. */
const tilesPerLook = 64;
const readsAtOnce = 8;

export interface PublishedSampleOptions {
  readonly database: Queryable;
  readonly store: ObjectStore;
  /** What this node saw published last. */
  readonly seen: CheckpointFiles;
  readonly log: LogName;
  readonly signal?: AbortSignal;
}

/** An object that must be in the store, what it must be, and the first entry below it. */
interface ExpectedObject {
  readonly key: string;
  readonly index: number;
  readonly read: () => Promise<Uint8Array>;
  /** Of a bundle: the leaf hashes of its entries one after another, which stay when the entries are archived. */
  readonly readLeaves?: () => Promise<Uint8Array>;
}

/**
 * Compares published tiles and bundles, drawn at random, with what the entries give, and the published checkpoint with the
 * one that this node saw there last. Whether the checkpoint itself is right is for verification of the log to say. Throws
 * what the store throws.
 */
export async function samplePublished(options: PublishedSampleOptions): Promise<LogBreak[]> {
  const { store, seen, log } = options;
  // Read first: what this node saw there has been there since.
  const seenSize = sizeOf(await seen.read(log));
  const size = await readPublishedSize(store, log);
  const breaks: LogBreak[] = [];
  if ((size ?? -1) < (seenSize ?? -1)) {
    const found = size === null ? 'none' : `one of ${size}`;
    breaks.push({
      code: 'ANCHOR_MISSING',
      index: size ?? 0,
      message: `${checkpointKey(log)} in ${store.description}: the checkpoint of ${seenSize ?? 0} entries was there, now there is ${found}`,
    });
  }
  if (size === null) return breaks;
  breaks.push(...(await compareAll(options, listFullTiles(log, size, options.database))));
  const atEdge = await compareAll(options, listEdge(log, size, options.database));
  // Partial tiles give way to larger ones when a log is published further.
  if (atEdge.length > 0 && (await readPublishedSize(store, log)) === size) breaks.push(...atEdge);
  return breaks;
}

/** Null where there is no checkpoint, or none that can be read: verification says so. */
function sizeOf(note: string | null): number | null {
  if (note === null) return null;
  try {
    return parseCheckpoint(parseNote(note).text).size;
  } catch {
    return null;
  }
}

async function readPublishedSize(store: ObjectStore, log: LogName): Promise<number | null> {
  const stored = await store.read(checkpointKey(log));
  if (stored === null) return null;
  try {
    return sizeOf(decodeUtf8(stored.bytes));
  } catch {
    return null;
  }
}

/** Full tiles of any level, drawn at random, with the bundles of those of the lowest one. */
function listFullTiles(log: LogName, size: number, database: Queryable): ExpectedObject[] {
  const counts: number[] = [];
  for (let span = tileWidth; span <= size; span *= tileWidth) counts.push(Math.floor(size / span));
  const all = counts.reduce((sum, count) => sum + count, 0);
  const drawn = new Set<number>();
  if (all <= tilesPerLook) for (let place = 0; place < all; place += 1) drawn.add(place);
  else while (drawn.size < tilesPerLook) drawn.add(randomInt(all));
  return [...drawn].flatMap((place) => {
    let [level, index] = [0, place];
    for (; index >= (counts[level] ?? Infinity); level += 1) index -= counts[level] ?? 0;
    return listObjects(log, level, index, tileWidth, database);
  });
}

/** The partial tiles that the checkpoint ends in. */
function listEdge(log: LogName, size: number, database: Queryable): ExpectedObject[] {
  const found: ExpectedObject[] = [];
  for (let [level, count] = [0, size]; count > 0; [level, count] = [level + 1, Math.floor(count / tileWidth)]) {
    if (count % tileWidth > 0) {
      found.push(...listObjects(log, level, Math.floor(count / tileWidth), count % tileWidth, database));
    }
  }
  return found;
}

function listObjects(log: LogName, level: number, index: number, width: number, database: Queryable): ExpectedObject[] {
  const first = index * tileWidth ** (level + 1);
  const tile = {
    key: `${log}/${hashTilePath(level, index, width)}`,
    index: first,
    read: () => readHashTile(database, log, { level, index, width }),
  };
  if (level > 0) return [tile];
  const bundle = {
    key: `${log}/${entriesPath(index, width)}`,
    index: first,
    read: () => readEntryBundle(database, log, { index, width }),
    readLeaves: tile.read,
  };
  return [tile, bundle];
}

async function compareAll(
  { store, signal }: PublishedSampleOptions,
  expected: readonly ExpectedObject[],
): Promise<LogBreak[]> {
  const breaks: LogBreak[] = [];
  for (let from = 0; from < expected.length; from += readsAtOnce) {
    signal?.throwIfAborted();
    const found = await Promise.all(expected.slice(from, from + readsAtOnce).map((one) => compare(store, one)));
    breaks.push(...found.filter((one) => one !== null));
  }
  return breaks;
}

async function compare(store: ObjectStore, { key, index, read, readLeaves }: ExpectedObject): Promise<LogBreak | null> {
  const bytes = await readOrNull(read);
  // Entries that the database lacks are a break of their own.
  if (bytes === 'missing') return null;
  const stored = await store.read(key);
  if (stored === null) {
    // With their archive, the entries are given up here too.
    if (bytes === 'archived') return null;
    return { code: 'TILE_MISSING', index, message: `${key} is gone from ${store.description}` };
  }
  const isRight =
    bytes === 'archived'
      ? readLeaves !== undefined && equalBytes(leavesOf(stored.bytes), await readLeaves())
      : equalBytes(stored.bytes, bytes);
  if (isRight) return null;
  return { code: 'TILE_MISMATCH', index, message: `${key} in ${store.description} is not what the entries give` };
}

/** The leaf hashes of a bundle's entries one after another; nothing where it is no bundle. */
function leavesOf(bundle: Uint8Array): Uint8Array {
  try {
    return concatBytes(...decodeEntryBundle(bundle).map(hashLeafBytes));
  } catch (error) {
    if (error instanceof SyntaxError) return new Uint8Array();
    throw error;
  }
}

async function readOrNull(read: () => Promise<Uint8Array>): Promise<Uint8Array | 'missing' | 'archived'> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DaybookError && error.code === 'LEDGER_BROKEN') return 'missing';
    if (error instanceof DaybookError && error.code === 'ARCHIVED') return 'archived';
    throw error;
  }
}
