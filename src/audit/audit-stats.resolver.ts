import { Arg, Ctx, Query, Resolver } from 'type-graphql';
import { Audited, auditReaders } from '../access/audited.js';
import type { RequestContext } from '../access/request-context.js';
import { parseFilter } from '../ledger/filter.js';
import { auditFilterFields } from '../ledger/read-entries.js';
import { AuditEntryFilter } from './audit-entry.type.js';
import { AuditStats } from './audit-stats.type.js';
import { readAuditStats, type AuditStatsRow } from './read-audit-stats.js';

@Resolver()
export class AuditStatsResolver {
  @Query(() => AuditStats, {
    description:
      'Totals over the entries that match. Ranges of index and recordedAt and filters by category, event, action, actor, role and outcome are quick in a log of any length; others look at each entry of the range: see docs/audit.md.',
  })
  @Audited('READ', auditReaders)
  auditStats(
    @Arg('filter', () => AuditEntryFilter, { nullable: true }) filter: AuditEntryFilter | undefined,
    @Ctx() context: RequestContext,
  ): Promise<AuditStatsRow> {
    const condition = filter === undefined || filter === null ? null : parseFilter(filter, auditFilterFields);
    return readAuditStats(context.services.database, condition);
  }
}
