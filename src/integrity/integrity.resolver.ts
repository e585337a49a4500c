import { Arg, Args, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { Audited, auditReaders, currentCall } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import { ForwardPageArgs, numberedConnection, type Connection } from '../graphql/connection.js';
import { acknowledgeIncident, closeIncident, openIncident, type IncidentStore } from './incidents.js';
import {
  AcknowledgeIncidentInput,
  CloseIncidentInput,
  IncidentConnection,
  IncidentPayload,
  IntegrityCheckConnection,
  OpenIncidentInput,
  RunIntegrityCheckInput,
  RunIntegrityCheckPayload,
} from './integrity.type.js';
import { readChecks, type IntegrityCheckRow } from './read-checks.js';
import { readIncidents, type IncidentRow } from './read-incidents.js';

@Resolver()
export class IntegrityResolver {
  @Query(() => IntegrityCheckConnection, { description: 'Runs of the integrity monitor, newest first.' })
  @Audited('READ', auditReaders)
  async integrityChecks(
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
  ): Promise<Connection> {
    return numberedConnection(await readChecks(context.services.database, page));
  }

  @Query(() => IncidentConnection, { description: 'Incidents, newest first.' })
  @Audited('READ', auditReaders)
  async incidents(
    @Arg('open', () => Boolean, { nullable: true, description: 'true: not closed; false: closed; absent: all.' })
    open: boolean | undefined,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
  ): Promise<Connection> {
    return numberedConnection(await readIncidents(context.services.database, open ?? null, page));
  }

  @Mutation(() => RunIntegrityCheckPayload, {
    description: 'Checks the ledger now and answers when the result is recorded. FULL reads every entry.',
  })
  @Audited('EXECUTE', [Role.AUDITOR, Role.ADMIN])
  async runIntegrityCheck(
    @Arg('input', () => RunIntegrityCheckInput) input: RunIntegrityCheckInput,
    @Ctx() context: RequestContext,
  ): Promise<{ check: IntegrityCheckRow }> {
    const { integrity, shutdown } = context.services;
    const { append } = storeOf(context);
    const check = await integrity.run({ ...input, origin: context.calls.origin, append, signal: shutdown });
    return { check };
  }

  @Mutation(() => IncidentPayload, { description: 'Reports something that a person has to look at.' })
  @Audited('CREATE', auditReaders)
  async openIncident(
    @Arg('input', () => OpenIncidentInput) input: OpenIncidentInput,
    @Ctx() context: RequestContext,
  ): Promise<{ incident: IncidentRow }> {
    return { incident: await openIncident(storeOf(context), input, context.calls.origin) };
  }

  @Mutation(() => IncidentPayload, { description: 'Says that the caller looks after an open incident.' })
  @Audited('UPDATE', auditReaders)
  async acknowledgeIncident(
    @Arg('input', () => AcknowledgeIncidentInput) input: AcknowledgeIncidentInput,
    @Ctx() context: RequestContext,
  ): Promise<{ incident: IncidentRow }> {
    return { incident: await acknowledgeIncident(storeOf(context), input, context.calls.origin) };
  }

  @Mutation(() => IncidentPayload, {
    description: 'Closes an incident; one that nobody acknowledged is acknowledged by the same note.',
  })
  @Audited('UPDATE', auditReaders)
  async closeIncident(
    @Arg('input', () => CloseIncidentInput) input: CloseIncidentInput,
    @Ctx() context: RequestContext,
  ): Promise<{ incident: IncidentRow }> {
    return { incident: await closeIncident(storeOf(context), input, context.calls.origin) };
  }
}

/** Writes that commit together with the entry of the mutation under way. */
function storeOf(context: RequestContext): IncidentStore {
  const call = currentCall(context);
  return {
    database: context.services.database,
    append: (request) => context.calls.appendWithCall(call, request),
  };
}
