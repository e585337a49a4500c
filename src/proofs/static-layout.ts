import { concatBytes, encodeUtf8 } from '../core/bytes.js';
import { encodeEntryBundle } from '../core/entry-bundle.js';
import { tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { readLogStart } from '../ledger/purges.js';
import { logs, type LogName } from '../ledger/rows.js';
import { readHashRuns } from '../ledger/tree-nodes.js';

/** Which tile of a log: `width` is 256 for a full one. */
export interface TileName {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/** How many entries a log needs for a hash tile to exist. */
export function entriesNeeded({ level, index, width }: TileName): number {
  return (index * tileWidth + width) * tileWidth ** level;
}

/** The bytes of a hash tile: `width` hashes of 32 bytes. Throws LEDGER_BROKEN where the log does not reach so far. */
export async function readHashTile(database: Queryable, log: LogName, tile: TileName): Promise<Uint8Array> {
  const run = { level: tile.level, first: tile.index * tileWidth, count: tile.width };
  const [hashes = []] = await readHashRuns(database, log, [run]);
  return concatBytes(...hashes);
}

/** The bytes of an entry bundle (C2SP tlog-tiles). Throws as readHashTile, and ARCHIVED. */
export async function readEntryBundle(
  database: Queryable,
  log: LogName,
  { index, width }: { readonly index: number; readonly width: number },
): Promise<Uint8Array> {
  const first = index * tileWidth;
  const found = await database.query<{ body: string }>({
    name: `read_${log}_bundle`,
    text: `SELECT body FROM public.${logs[log].table} WHERE chain_index >= $1 AND chain_index < $2 ORDER BY chain_index`,
    values: [first, first + width],
  });
  if (found.rows.length !== width) {
    const start = await readLogStart(database, log);
    if (first < (start?.firstKept ?? 0)) {
      throw new DaybookError('ARCHIVED', `entries ${first} to ${first + width - 1} were archived: restoreArchives`);
    }
    throw new DaybookError(
      'LEDGER_BROKEN',
      `the ${log} log lacks entries between ${first} and ${first + width - 1}: run daybook verify`,
    );
  }
  return encodeEntryBundle(found.rows.map(({ body }) => encodeUtf8(body)));
}
