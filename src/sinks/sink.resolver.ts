import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { Audited, auditReaders, currentCall } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import { DaybookError } from '../errors.js';
import { replaySink } from './replay-sink.js';
import { readSinks, type SinkRow } from './sink-rows.js';
import { ReplaySinkInput, ReplaySinkPayload, Sink } from './sink.type.js';

const reasonCharactersMax = 1_000;

@Resolver()
export class SinkResolver {
  @Query(() => [Sink], { description: 'Where the audit log is delivered to, by name.' })
  @Audited('READ', auditReaders)
  async sinks(@Ctx() context: RequestContext): Promise<object[]> {
    return describe(context, await readSinks(context.services.database));
  }

  @Mutation(() => ReplaySinkPayload, { description: 'Delivers the audit log to a sink again, from an index on.' })
  @Audited('UPDATE', [Role.ADMIN])
  async replaySink(
    @Arg('input', () => ReplaySinkInput) input: ReplaySinkInput,
    @Ctx() context: RequestContext,
  ): Promise<{ sinks: object[] }> {
    const reason = (input.reason ?? '').trim() || 'asked for';
    if (reason.length > reasonCharactersMax || !reason.isWellFormed() || reason.includes('\0')) {
      throw new DaybookError('BAD_USER_INPUT', `reason must have at most ${reasonCharactersMax} characters`);
    }
    const call = currentCall(context);
    const store = {
      database: context.services.database,
      append: (request: Parameters<typeof context.calls.appendWithCall>[1]) =>
        context.calls.appendWithCall(call, request),
    };
    const sinks = await replaySink(store, { ...input, number: null, reason }, context.calls.origin);
    return { sinks: describe(context, sinks) };
  }
}

function describe({ services }: RequestContext, sinks: readonly SinkRow[]): object[] {
  return sinks.map((sink) => ({ ...sink, configured: services.sinks.configured.has(sink.number) }));
}
