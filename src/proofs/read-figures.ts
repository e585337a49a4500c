import type { Queryable } from '../ledger/read-entries.js';
import { logNames, logs, type LogName } from '../ledger/rows.js';

/** How far each log is signed and anchored. Sizes are numbers of entries. */
export interface LogFigures {
  readonly log: LogName;
  readonly entries: number;
  readonly checkpointSize: number;
  readonly checkpointAgeSeconds: number | null;
  /** Since the oldest entry was recorded that no checkpoint covers; 0 where every entry is covered. */
  readonly unsignedAgeSeconds: number;
  /** Size of the newest root that some anchor keeps; 0 before the first. */
  readonly anchoredSize: number;
}

/** One query over indexes: cheap enough for every scrape. */
export async function readLogFigures(database: Queryable): Promise<LogFigures[]> {
  const perLog = logNames.map(
    (
      log,
    ) => `SELECT '${log}' AS log, (SELECT coalesce(max(chain_index) + 1, 0) FROM public.${logs[log].table}) AS entries,
      (SELECT coalesce(max(root.tree_size), 0) FROM public.anchors JOIN public.merkle_roots AS root USING (log, date)
       WHERE log = '${log}' AND status = 'ANCHORED') AS anchored,
      newest.tree_size AS size, extract(epoch FROM clock_timestamp() - newest.signed_at)::float8 AS age,
      (SELECT greatest(0, extract(epoch FROM clock_timestamp() - ${logs[log].recordedColumn}))::float8
       FROM public.${logs[log].table} WHERE chain_index = coalesce(newest.tree_size, 0)) AS unsigned
    FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT tree_size, signed_at FROM public.checkpoints WHERE log = '${log}'
      ORDER BY tree_size DESC LIMIT 1) AS newest ON true`,
  );
  const found = await database.query<{
    log: LogName;
    entries: string;
    anchored: string;
    size: string | null;
    age: number | null;
    unsigned: number | null;
  }>(perLog.join(' UNION ALL '));
  return found.rows.map((row) => ({
    log: row.log,
    entries: Number(row.entries),
    checkpointSize: Number(row.size ?? 0),
    checkpointAgeSeconds: row.age,
    unsignedAgeSeconds: row.unsigned ?? 0,
    anchoredSize: Number(row.anchored),
  }));
}
