import { decompose, foldNodes, hashSubtree, type Hash, type TreeNode } from '../core/merkle-tree.js';
import { tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from './read-entries.js';
import { logs, type LogName } from './rows.js';
import type { TreeNodeCache } from './tree-node-cache.js';

/** Levels of the binary tree in one tile: 2^8 = 256 hashes. */
const tileHeight = 8;
const hashBytes = 32;

/** Hashes one after another at one level of tiles: of leaves at level 0, above it the roots of whole tiles below. */
export interface HashRun {
  readonly level: number;
  readonly first: number;
  readonly count: number;
}

/**
 * Hashes of perfect subtrees, in the order of `nodes`, in one query. Each lies in one tile, and what lies in one tile is read
 * together, so a proof costs one read for each level of tiles, however long the log is. Throws LEDGER_BROKEN where a tile or
 * leaf that must be there is not.
 */
async function readTreeNodes(database: Queryable, log: LogName, nodes: readonly TreeNode[]): Promise<Hash[]> {
  const runs = nodes.map(runOf);
  const spans = new Map<string, { readonly level: number; first: number; end: number }>();
  for (const { level, first, count } of runs) {
    const name = tileNameOf(level, first);
    const span = spans.get(name);
    if (span === undefined) {
      spans.set(name, { level, first, end: first + count });
      continue;
    }
    span.first = Math.min(span.first, first);
    span.end = Math.max(span.end, first + count);
  }
  const wanted = [...spans.values()].map(({ level, first, end }) => ({ level, first, count: end - first }));
  const found = await readHashRuns(database, log, wanted);
  const hashesByTile = new Map([...spans.keys()].map((name, place) => [name, found[place] ?? []]));
  return runs.map(({ level, first, count }) => {
    const name = tileNameOf(level, first);
    const from = first - (spans.get(name)?.first ?? first);
    return hashSubtree((hashesByTile.get(name) ?? []).slice(from, from + count));
  });
}

function tileNameOf(level: number, first: number): string {
  return `${level}/${Math.floor(first / tileWidth)}`;
}

/** The hashes of each run, which must lie in one tile. Throws as readTreeNodes. */
export async function readHashRuns(database: Queryable, log: LogName, runs: readonly HashRun[]): Promise<Hash[][]> {
  if (runs.length === 0) return [];
  const found = await database.query<{ hashes: string | null }>({
    name: `read_${log}_hash_runs`,
    text: hashRunsQuery(log),
    values: [runs.map(({ level }) => level), runs.map(({ first }) => first), runs.map(({ count }) => count)],
  });
  return runs.map((run, place) => {
    const hashes = splitHashes(found.rows[place]?.hashes ?? '');
    if (hashes.length !== run.count) {
      throw new DaybookError(
        'LEDGER_BROKEN',
        `the tree of the ${log} log lacks hashes ${run.first} to ${run.first + run.count - 1} of tile level ${run.level}: run daybook verify`,
      );
    }
    return hashes;
  });
}

/** Root of the tree over the first `size` entries. Throws as readTreeNodes. */
export async function readTreeRoot(database: Queryable, log: LogName, size: number): Promise<Hash> {
  return foldNodes(await readTreeNodes(database, log, decompose(0, size)));
}

/**
 * The hashes of each group of subtrees folded into one, as proofs list them. What several groups need is read once, and what
 * the cache holds not at all.
 */
export async function readFoldedGroups(
  database: Queryable,
  log: LogName,
  groups: readonly (readonly TreeNode[])[],
  cache?: TreeNodeCache,
): Promise<Hash[]> {
  const nameOf = ({ level, index }: TreeNode) => `${level}/${index}`;
  const hashes = new Map<string, Hash>();
  const unread = new Map<string, TreeNode>();
  for (const node of groups.flat()) {
    const cached = cache?.read(log, node);
    if (cached === undefined) unread.set(nameOf(node), node);
    else hashes.set(nameOf(node), cached);
  }
  const nodes = [...unread.values()];
  const read = await readTreeNodes(database, log, nodes);
  nodes.forEach((node, place) => {
    const hash = read[place];
    if (hash === undefined) return;
    hashes.set(nameOf(node), hash);
    cache?.keep(log, node, hash);
  });
  return groups.map((group) =>
    foldNodes(group.map((node) => hashes.get(nameOf(node))).filter((hash) => hash !== undefined)),
  );
}

/** 32-byte hashes from their joined hexadecimal text. */
export function splitHashes(hex: string): Hash[] {
  const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
  const hashes: Hash[] = [];
  for (let start = 0; start < bytes.length; start += hashBytes) hashes.push(bytes.subarray(start, start + hashBytes));
  return hashes;
}

function runOf({ level, index }: TreeNode): HashRun {
  const count = 2 ** (level % tileHeight);
  return { level: Math.floor(level / tileHeight), first: index * count, count };
}

function hashRunsQuery(log: LogName): string {
  return `SELECT CASE WHEN run.level = 0
      THEN coalesce(
        (SELECT substring(hashes FROM ((run.first % ${tileWidth}) * ${hashBytes} + 1)::int FOR run.count * ${hashBytes})
         FROM public.ledger_tiles WHERE log = '${log}' AND level = 0 AND tile = run.first / ${tileWidth}),
        (SELECT string_agg(verification_hash, ''::bytea ORDER BY chain_index) FROM public.${logs[log].table}
         WHERE chain_index >= run.first AND chain_index < run.first + run.count))
      ELSE (SELECT string_agg(root, ''::bytea ORDER BY tile) FROM public.ledger_tiles
            WHERE log = '${log}' AND level = run.level - 1 AND tile >= run.first AND tile < run.first + run.count)
      END AS hashes
    FROM unnest($1::int[], $2::bigint[], $3::int[]) WITH ORDINALITY AS run (level, first, count, place)
    ORDER BY run.place`;
}
