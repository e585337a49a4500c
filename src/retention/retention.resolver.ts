import { Arg, Args, Ctx, FieldResolver, Info, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { GraphQLResolveInfo } from 'graphql';
import { Audited, auditReaders, currentCall } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import type { Append } from '../access/request-calls.js';
import { DaybookError } from '../errors.js';
import { AuditEntryConnection, AuditEntryFilter } from '../audit/audit-entry.type.js';
import { connectionOf, ForwardPageArgs, numberedConnection, PageArgs, type Connection } from '../graphql/connection.js';
import { selectedNodeFields } from '../graphql/selection.js';
import { parseFilter } from '../ledger/filter.js';
import { readPage, restoredFilterFields } from '../ledger/read-entries.js';
import { placeHold, readHolds, releaseHold, type LegalHoldRow } from './legal-holds.js';
import { readArchivedExtent, readArchives, type ArchiveRow } from './read-archives.js';
import { restoreArchives } from './restore-archives.js';
import {
  ArchivedEntries,
  AuditArchiveConnection,
  LegalHoldConnection,
  LegalHoldPayload,
  PlaceLegalHoldInput,
  ReleaseLegalHoldInput,
  RestoreArchivesInput,
  RestoreArchivesPayload,
  type ArchivedRange,
} from './retention.type.js';

/** Who may place, ask for the release of, and release legal holds, and bring archives back. */
const keepers = [Role.AUDITOR, Role.ADMIN];

@Resolver()
export class RetentionResolver {
  @Query(() => AuditArchiveConnection, { description: 'Archives of the audit log, newest first.' })
  @Audited('READ', auditReaders)
  async auditArchives(@Args(() => ForwardPageArgs) page: ForwardPageArgs, @Ctx() context: RequestContext) {
    return numberedConnection(await readArchives(context.services.database, page));
  }

  @Query(() => AuditEntryConnection, {
    description: 'Copies of archived audit entries that were brought back, oldest first.',
  })
  @Audited('READ', auditReaders)
  async restoredAuditEntries(
    @Arg('filter', () => AuditEntryFilter, { nullable: true }) filter: AuditEntryFilter | undefined,
    @Args(() => PageArgs) page: PageArgs,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Connection> {
    const found = await readPage(context.services.database, 'audit', {
      ...page,
      condition: filter === undefined || filter === null ? null : parseFilter(filter, restoredFilterFields),
      newestFirst: false,
      properties: selectedNodeFields(info),
      table: 'restored_entries',
    });
    return connectionOf('audit', found);
  }

  @Query(() => LegalHoldConnection, { description: 'Legal holds, newest first.' })
  @Audited('READ', auditReaders)
  async legalHolds(
    @Arg('active', () => Boolean, { defaultValue: false, description: 'Only those that still hold.' }) active: boolean,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
  ): Promise<Connection> {
    return numberedConnection(await readHolds(context.services.database, { ...page, active }));
  }

  @Mutation(() => LegalHoldPayload, {
    description: 'Keeps audit entries, and the archives that may hold them, until two people release the hold.',
  })
  @Audited('CREATE', keepers)
  async placeLegalHold(
    @Arg('input', () => PlaceLegalHoldInput) input: PlaceLegalHoldInput,
    @Ctx() context: RequestContext,
  ): Promise<{ hold: LegalHoldRow }> {
    return { hold: await placeHold(holdStore(context), input, context.calls.origin) };
  }

  @Mutation(() => LegalHoldPayload, {
    description: 'Asks for the release of a legal hold; called by a second person, releases it.',
  })
  @Audited('UPDATE', keepers)
  async releaseLegalHold(
    @Arg('input', () => ReleaseLegalHoldInput) input: ReleaseLegalHoldInput,
    @Ctx() context: RequestContext,
  ): Promise<{ hold: LegalHoldRow }> {
    return { hold: await releaseHold(holdStore(context), input, context.calls.origin) };
  }

  @Mutation(() => RestoreArchivesPayload, {
    description: 'Brings copies of archived entries back: auditEntries shows them with includeRestored.',
  })
  @Audited('READ', keepers)
  async restoreArchives(
    @Arg('input', () => RestoreArchivesInput) input: RestoreArchivesInput,
    @Ctx() context: RequestContext,
  ): Promise<{ archives: ArchiveRow[] }> {
    const { reason, ...selection } = input;
    if (reason.length < 10 || reason.length > 1_000) {
      throw new DaybookError('BAD_USER_INPUT', 'reason must have 10 to 1,000 characters: it goes on the record');
    }
    const { retention, shutdown } = context.services;
    const archives = await restoreArchives(retention, {
      selection,
      reason,
      origin: context.calls.origin,
      append: retention.append,
      signal: shutdown,
    });
    return { archives };
  }
}

/** What a list of audit entries cannot show. */
@Resolver(() => AuditEntryConnection)
export class ArchivedEntriesResolver {
  @FieldResolver(() => ArchivedEntries, {
    nullable: true,
    description: 'What of the list’s range was archived and removed from the log; null where everything is there.',
  })
  async archived(@Root() list: { readonly range?: ArchivedRange }, @Ctx() context: RequestContext) {
    if (list.range === undefined) return null;
    const extent = await readArchivedExtent(context.services.database, list.range);
    const hint = 'restoreArchives brings copies back for some time, restoredAuditEntries lists them';
    return extent === null ? null : { ...extent, hint };
  }
}

/** The change and the call's own entry commit together. */
function holdStore(context: RequestContext) {
  const call = currentCall(context);
  const append: Append = (request) => context.calls.appendWithCall(call, request);
  return { database: context.services.database, append };
}
