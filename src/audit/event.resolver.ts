import { Arg, Ctx, Mutation, Resolver } from 'type-graphql';
import { Audited } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import type { AuditRow } from '../ledger/rows.js';
import { RecordEventsInput, RecordEventsPayload } from './event.type.js';
import { recordEvents } from './record-events.js';

@Resolver()
export class EventResolver {
  @Mutation(() => RecordEventsPayload, {
    description: 'Records up to 1,000 order, fill, alert, auth, config and payment events, all or nothing.',
  })
  @Audited('CREATE', [Role.PRODUCER, Role.ADMIN])
  recordEvents(
    @Arg('input', () => RecordEventsInput) input: RecordEventsInput,
    @Ctx() context: RequestContext,
  ): Promise<{ entries: readonly AuditRow[] }> {
    return recordEvents(context, input.events);
  }
}
