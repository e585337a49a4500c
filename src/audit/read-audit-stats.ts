import type { Queryable } from '../ledger/read-entries.js';
import { conditionToSql, type Condition } from '../ledger/filter.js';

/** Names listed of each kind of which callers can make any number; the rest is in the total only. */
const actorsMax = 1_000;
const resourcesMax = 10;
const daysMax = 4_000;

/** How many entries have one value. `key` is null where it is absent; `count` is decimal text. */
interface AuditCount {
  readonly key: string | null;
  readonly count: string;
}

/** Totals over the audit entries that match a filter, all of one moment. */
export interface AuditStatsRow {
  readonly totalEntries: string;
  readonly byAction: readonly AuditCount[];
  /** At most 1,000, those with most entries first. */
  readonly byActor: readonly AuditCount[];
  readonly byCategory: readonly AuditCount[];
  readonly byOutcome: readonly AuditCount[];
  /** Days in UTC, ascending. */
  readonly byDay: readonly AuditCount[];
  /** The ten with most entries. */
  readonly topResources: readonly AuditCount[];
  /** Bytes of the matching entries' bodies, decimal text. */
  readonly bytes: string;
  /** Index of the last entry of the log when it was counted, null for an empty log. */
  readonly asOfIndex: string | null;
}

interface Group {
  readonly kind: 'action' | 'actor' | 'category' | 'outcome' | 'day' | 'resource' | 'total';
  readonly key: string | null;
  readonly count: string;
  readonly bytes: string;
  readonly last: string | null;
}

/** Counts in one pass and one statement, so that the figures agree with one another. Reads every matching entry. */
export async function readAuditStats(database: Queryable, condition: Condition | null): Promise<AuditStatsRow> {
  const parameters: unknown[] = [];
  const where = condition === null ? 'true' : conditionToSql(condition, parameters);
  const found = await database.query<Group>(statsQuery(where), parameters);
  const groupsOf = (kind: Group['kind']): AuditCount[] =>
    found.rows.filter((row) => row.kind === kind).map(({ key, count }) => ({ key, count }));
  const total = found.rows.find(({ kind }) => kind === 'total');
  return {
    totalEntries: total?.count ?? '0',
    byAction: groupsOf('action'),
    byActor: groupsOf('actor'),
    byCategory: groupsOf('category'),
    byOutcome: groupsOf('outcome'),
    byDay: groupsOf('day').sort((left, right) => ((left.key ?? '') < (right.key ?? '') ? -1 : 1)),
    topResources: groupsOf('resource'),
    bytes: total?.bytes ?? '0',
    asOfIndex: total?.last ?? null,
  };
}

function statsQuery(where: string): string {
  return `
    WITH counted AS (
      SELECT CASE
          WHEN grouping(action) = 0 THEN 'action' WHEN grouping(actor) = 0 THEN 'actor'
          WHEN grouping(category) = 0 THEN 'category' WHEN grouping(outcome) = 0 THEN 'outcome'
          WHEN grouping(day) = 0 THEN 'day' WHEN grouping(resource) = 0 THEN 'resource' ELSE 'total' END AS kind,
        coalesce(action, actor, category, outcome, day::text, resource) AS key,
        count(*) AS count, coalesce(sum(bytes), 0) AS bytes
      FROM (SELECT action, actor, category, outcome, resource, octet_length(body) AS bytes,
              (recorded_at AT TIME ZONE 'UTC')::date AS day
            FROM public.audit_entries WHERE ${where}) AS matching
      GROUP BY GROUPING SETS ((action), (actor), (category), (outcome), (day), (resource), ())),
    ranked AS (
      SELECT kind, key, count, bytes, row_number() OVER (PARTITION BY kind ORDER BY count DESC, key NULLS LAST) AS place
      FROM counted)
    SELECT kind, key, count, bytes, (SELECT max(chain_index) FROM public.audit_entries) AS last
    FROM ranked
    WHERE place <= CASE kind WHEN 'resource' THEN ${resourcesMax} WHEN 'actor' THEN ${actorsMax} ELSE ${daysMax} END
    ORDER BY kind, place`;
}
