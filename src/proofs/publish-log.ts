import { equalBytes } from '../core/bytes.js';
import { encodeUtf8 } from '../core/bytes.js';
import { entriesPath, hashTilePath, tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';
import { readTreeRoot } from '../ledger/tree-nodes.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { KnownCheckpoint } from './known-checkpoints.js';
import type { CheckpointRow } from './read-checkpoints.js';
import { readEntryBundle, readHashTile } from './static-layout.js';

/** Objects written at a time. */
const writesAtOnce = 8;
const bytesType = 'application/octet-stream';

/** An object to write: its key below the store and how to get its bytes. */
interface Upload {
  readonly key: string;
  /** Null where the bytes are in an archive alone: a store that lost them cannot be given them back from here. */
  readonly read: () => Promise<Uint8Array | null>;
}

/** Where a log's published checkpoint lies. */
export function checkpointKey(log: LogName): string {
  return `${log}/checkpoint`;
}

/**
 * Brings the static layout of a log in the store from the `published` checkpoint to the `newest`: full tiles and bundles,
 * partial ones at the new edge, and at last the checkpoint, so that whoever reads a checkpoint finds everything it covers.
 * The checkpoint is replaced only where it still is the one that was read, so it never goes back. Throws LOG_INCONSISTENT
 * where the log does not continue what was published, OBJECT_CHANGED where another node was faster.
 *
 * A crash leaves tiles that the published checkpoint does not cover yet; the next run writes the same bytes again.
 */
export async function publishLog(input: {
  readonly database: Queryable;
  readonly store: ObjectStore;
  readonly log: LogName;
  readonly published: (KnownCheckpoint & { readonly etag: string }) | null;
  readonly newest: CheckpointRow;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { database, store, log, published, newest } = input;
  const from = published?.checkpoint.size ?? 0;
  const to = Number(newest.treeSize);
  if (published !== null && !equalBytes(await readTreeRoot(database, log, from), published.checkpoint.root)) {
    throw new DaybookError(
      'LOG_INCONSISTENT',
      `the ${log} log does not continue the checkpoint of ${from} entries in ${store.description}: nothing was published`,
    );
  }
  await writeAll(store, listUploads(database, log, from, to), input.signal);
  const condition = published === null ? ({ ifAbsent: true } as const) : { ifMatch: published.etag };
  await store.write(checkpointKey(log), encodeUtf8(newest.note), {
    ...condition,
    contentType: 'text/plain; charset=utf-8',
  });
  await removeOutgrown(store, log, from, to);
}

/** Every object that a checkpoint of `to` entries needs and one of `from` did not have. */
function* listUploads(database: Queryable, log: LogName, from: number, to: number): Generator<Upload> {
  for (let level = 0; Math.floor(to / tileWidth ** level) > 0; level += 1) {
    const span = tileWidth ** (level + 1);
    const full = Math.floor(to / span);
    const width = Math.floor(to / tileWidth ** level) % tileWidth;
    for (let index = Math.floor(from / span); index < full; index += 1) {
      yield* uploadsOf(database, log, level, index, tileWidth);
    }
    if (width > 0) yield* uploadsOf(database, log, level, full, width);
  }
}

function* uploadsOf(database: Queryable, log: LogName, level: number, index: number, width: number): Generator<Upload> {
  yield {
    key: `${log}/${hashTilePath(level, index, width)}`,
    read: () => readHashTile(database, log, { level, index, width }),
  };
  if (level > 0) return;
  yield {
    key: `${log}/${entriesPath(index, width)}`,
    read: () => unlessArchived(readEntryBundle(database, log, { index, width })),
  };
}

async function unlessArchived(bytes: Promise<Uint8Array>): Promise<Uint8Array | null> {
  try {
    return await bytes;
  } catch (error) {
    if (error instanceof DaybookError && error.code === 'ARCHIVED') return null;
    throw error;
  }
}

async function writeAll(store: ObjectStore, uploads: Iterable<Upload>, signal: AbortSignal): Promise<void> {
  const iterator = uploads[Symbol.iterator]();
  const work = async () => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      signal.throwIfAborted();
      const bytes = await next.value.read();
      if (bytes !== null) await store.write(next.value.key, bytes, { contentType: bytesType });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: writesAtOnce }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** Removes partial tiles whose full tile is published now; readers are to prefer the full one (C2SP tlog-tiles). */
async function removeOutgrown(store: ObjectStore, log: LogName, from: number, to: number): Promise<void> {
  for (let level = 0; Math.floor(from / tileWidth ** level) > 0; level += 1) {
    const index = Math.floor(from / tileWidth ** (level + 1));
    if (Math.floor(to / tileWidth ** (level + 1)) <= index) continue;
    const paths = [hashTilePath(level, index), ...(level === 0 ? [entriesPath(index)] : [])];
    for (const path of paths) {
      const outgrown: string[] = [];
      for await (const key of store.list(`${log}/${path}.p/`)) outgrown.push(key);
      await store.remove(outgrown);
    }
  }
}
