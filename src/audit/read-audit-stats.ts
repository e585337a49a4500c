import {
  entriesWhere,
  orTooBroad,
  planCount,
  totalsWhere,
  uncoveredStretches,
  type CountPlan,
} from '../ledger/audit-totals.js';
import type { Condition } from '../ledger/filter.js';
import type { Queryable } from '../ledger/read-entries.js';

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
}

/**
 * Counts in one statement, so that the figures agree with one another. Filters by what `audit_totals` tells apart, and by
 * ranges of index and recording time, add up totals; others visit every matching entry. Throws QUERY_TOO_BROAD where that
 * takes too long.
 */
export async function readAuditStats(database: Queryable, condition: Condition | null): Promise<AuditStatsRow> {
  const head = await database.query<{ last: string | null }>(
    'SELECT max(chain_index) AS last FROM public.audit_entries',
  );
  const asOfIndex = head.rows[0]?.last ?? null;
  const upToHead: Condition[] =
    asOfIndex === null
      ? []
      : [
          {
            kind: 'compare',
            property: 'chainIndex',
            column: 'chain_index',
            type: 'integer',
            operator: 'lte',
            value: asOfIndex,
          },
        ];
  const plan = await planCount(database, {
    kind: 'and',
    parts: [...(condition === null ? [] : [condition]), ...upToHead],
  });
  return { ...statsOf(plan === null ? [] : await countGroups(database, plan)), asOfIndex };
}

function statsOf(groups: readonly Group[]): Omit<AuditStatsRow, 'asOfIndex'> {
  const groupsOf = (kind: Group['kind']): AuditCount[] =>
    groups.filter((row) => row.kind === kind).map(({ key, count }) => ({ key, count }));
  const total = groups.find(({ kind }) => kind === 'total');
  return {
    totalEntries: total?.count ?? '0',
    byAction: groupsOf('action'),
    byActor: groupsOf('actor'),
    byCategory: groupsOf('category'),
    byOutcome: groupsOf('outcome'),
    byDay: groupsOf('day').sort((left, right) => ((left.key ?? '') < (right.key ?? '') ? -1 : 1)),
    topResources: groupsOf('resource'),
    bytes: total?.bytes ?? '0',
  };
}

async function countGroups(database: Queryable, plan: CountPlan): Promise<readonly Group[]> {
  const parameters: unknown[] = [];
  const text = `
    WITH ${plan.blocks === null ? byEntries(plan, parameters) : byTotals(plan, plan.blocks, parameters)},
    grouped AS (
      SELECT CASE
          WHEN grouping(action) = 0 THEN 'action' WHEN grouping(actor) = 0 THEN 'actor'
          WHEN grouping(category) = 0 THEN 'category' WHEN grouping(outcome) = 0 THEN 'outcome'
          WHEN grouping(day) = 0 THEN 'day' ELSE 'total' END AS kind,
        coalesce(action, actor, category, outcome, day::text) AS key, sum(entries) AS count,
        coalesce(sum(bytes), 0) AS bytes
      FROM kinds GROUP BY GROUPING SETS ((action), (actor), (category), (outcome), (day), ())
      UNION ALL
      (SELECT 'resource', resource, entries, 0 FROM resources
       ORDER BY entries DESC, resource LIMIT ${resourcesMax})),
    ranked AS (
      SELECT kind, key, count, bytes, row_number() OVER (PARTITION BY kind ORDER BY count DESC, key NULLS LAST) AS place
      FROM grouped)
    SELECT kind, key, coalesce(count, 0)::text AS count, bytes::text AS bytes FROM ranked
    WHERE place <= CASE kind WHEN 'actor' THEN ${actorsMax} ELSE ${daysMax} END
    ORDER BY kind, place`;
  const found = await orTooBroad(() => database.query<Group>(text, parameters));
  return found.rows;
}

const kindColumns = 'category, action, actor, outcome';
const day = "(recorded_at AT TIME ZONE 'UTC')::date";

/** Kinds from totals and the entries around them; resources, of which there can be as many as entries, from their index. */
function byTotals(plan: CountPlan, blocks: NonNullable<CountPlan['blocks']>, parameters: unknown[]): string {
  const { stretch, remaining } = plan;
  const around = uncoveredStretches(plan).map(
    (part) => `UNION ALL
      SELECT ${day}, ${kindColumns}, 1, octet_length(body)
      FROM public.audit_entries WHERE ${entriesWhere(part, remaining, parameters)}`,
  );
  return `
    kinds AS (
      SELECT day, ${kindColumns}, entries, bytes
      FROM public.audit_totals WHERE ${totalsWhere(blocks, remaining, parameters)} ${around.join(' ')}),
    resources AS (
      SELECT resource, count(*) AS entries
      FROM public.audit_entries WHERE resource IS NOT NULL AND ${entriesWhere(stretch, remaining, parameters)}
      GROUP BY resource)`;
}

/** Both in one pass over the entries themselves. */
function byEntries({ stretch, remaining }: CountPlan, parameters: unknown[]): string {
  return `
    counted AS MATERIALIZED (
      SELECT day, ${kindColumns}, resource, grouping(resource) = 0 AS of_resource, count(*) AS entries, sum(bytes) AS bytes
      FROM (SELECT ${day} AS day, ${kindColumns}, resource, octet_length(body) AS bytes
            FROM public.audit_entries WHERE ${entriesWhere(stretch, remaining, parameters)}) AS matching
      GROUP BY GROUPING SETS ((day, ${kindColumns}), (resource))),
    kinds AS (SELECT * FROM counted WHERE NOT of_resource),
    resources AS (SELECT resource, entries FROM counted WHERE of_resource AND resource IS NOT NULL)`;
}
