import type pg from 'pg';
import { encodeHex } from '../core/bytes.js';
import { hashSubtree, type Hash } from '../core/merkle-tree.js';
import { tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import { logs, type LogName } from './rows.js';
import { splitHashes } from './tree-nodes.js';

/** Tiles of one statement: 2 MiB of hashes. */
const tilesPerInsert = 256;
/** 256^7 leaves are more than an index can number. */
const levelMax = 6;

/**
 * Stores the full tiles of the first `size` entries that are not stored yet, at most `tilesMax` of the lowest level, and
 * returns how many entries full tiles of the lowest level now cover. The cost follows the new entries alone. To be called in
 * a transaction, by one caller at a time for each log; a crash leaves whole tiles or none.
 */
export async function integrateTiles(
  client: pg.ClientBase,
  log: LogName,
  size: number,
  tilesMax: number,
): Promise<number> {
  const stored = await readTileCounts(client, log);
  const covered = stored[0] ?? 0;
  const reached = Math.min(Math.floor(size / tileWidth), covered + tilesMax);
  for (let first = covered; first < reached; first += tilesPerInsert) {
    await insertTiles(
      client,
      log,
      0,
      await readLeafTiles(client, log, first, Math.min(first + tilesPerInsert, reached)),
    );
  }
  let below = reached;
  for (let level = 1; level <= levelMax && below >= tileWidth; level += 1) {
    const full = Math.floor(below / tileWidth);
    const from = stored[level] ?? 0;
    if (full > from) await insertTiles(client, log, level, await readUpperTiles(client, log, level, from, full));
    below = full;
  }
  return reached * tileWidth;
}

interface Tile {
  readonly tile: number;
  readonly hashes: string;
}

/** Number of stored tiles of each level, from the lowest. */
async function readTileCounts(client: pg.ClientBase, log: LogName): Promise<number[]> {
  const found = await client.query<{ count: string }>({
    name: 'read_tile_counts',
    text: `SELECT (SELECT coalesce(max(tile) + 1, 0) FROM public.ledger_tiles WHERE log = $1 AND level = each) AS count
           FROM generate_series(0, ${levelMax}) AS each ORDER BY each`,
    values: [log],
  });
  return found.rows.map(({ count }) => Number(count));
}

async function readLeafTiles(client: pg.ClientBase, log: LogName, from: number, to: number): Promise<Tile[]> {
  const found = await client.query<{ tile: string; hashes: string }>({
    name: `read_${log}_leaf_tiles`,
    text: `SELECT chain_index / ${tileWidth} AS tile, string_agg(verification_hash, ''::bytea ORDER BY chain_index) AS hashes
           FROM public.${logs[log].table} WHERE chain_index >= $1 AND chain_index < $2 GROUP BY 1 ORDER BY 1`,
    values: [from * tileWidth, to * tileWidth],
  });
  return checkRun(log, 0, from, to, found.rows);
}

async function readUpperTiles(
  client: pg.ClientBase,
  log: LogName,
  level: number,
  from: number,
  to: number,
): Promise<Tile[]> {
  const found = await client.query<{ tile: string; hashes: string }>({
    name: 'read_upper_tiles',
    text: `SELECT tile / ${tileWidth} AS tile, string_agg(root, ''::bytea ORDER BY tile) AS hashes FROM public.ledger_tiles
           WHERE log = $1 AND level = $2 AND tile >= $3 AND tile < $4 GROUP BY 1 ORDER BY 1`,
    values: [log, level - 1, from * tileWidth, to * tileWidth],
  });
  return checkRun(log, level, from, to, found.rows);
}

/** Each tile from `from` to `to` with 256 hashes; a gap in the log is never papered over. */
function checkRun(
  log: LogName,
  level: number,
  from: number,
  to: number,
  rows: readonly { tile: string; hashes: string }[],
): Tile[] {
  const tiles = rows.map(({ tile, hashes }) => ({ tile: Number(tile), hashes }));
  const whole = tiles.every(({ tile, hashes }, place) => tile === from + place && hashes.length === tileWidth * 64);
  if (tiles.length !== to - from || !whole) {
    throw new DaybookError(
      'LEDGER_BROKEN',
      `tiles ${from} to ${to - 1} of level ${level} of the ${log} log cannot be built: entries are missing, run daybook verify`,
    );
  }
  return tiles;
}

async function insertTiles(client: pg.ClientBase, log: LogName, level: number, tiles: readonly Tile[]): Promise<void> {
  const roots: Hash[] = tiles.map(({ hashes }) => hashSubtree(splitHashes(hashes)));
  await client.query({
    name: 'insert_tiles',
    text: `INSERT INTO public.ledger_tiles (log, level, tile, root, hashes)
           SELECT $1, $2, tile, decode(root, 'hex'), decode(hashes, 'hex')
           FROM unnest($3::bigint[], $4::text[], $5::text[]) AS new (tile, root, hashes)`,
    values: [
      log,
      level,
      tiles.map(({ tile }) => tile),
      roots.map((root) => encodeHex(root)),
      tiles.map(({ hashes }) => hashes),
    ],
  });
}
