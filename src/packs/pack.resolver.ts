import { Arg, Args, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import { Audited, auditReaders } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import { ForwardPageArgs, numberedConnection, type Connection } from '../graphql/connection.js';
import { createPack } from './create-packs.js';
import { CreateExportPackInput, CreateExportPackPayload, ExportPackConnection } from './pack.type.js';
import { readPacks, type PackRow } from './read-packs.js';

@Resolver()
export class PackResolver {
  @Query(() => ExportPackConnection, { description: 'Evidence packs, newest first.' })
  @Audited('READ', auditReaders)
  async exportPacks(
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
  ): Promise<Connection> {
    return numberedConnection(await readPacks(context.services.database, page));
  }

  @Mutation(() => CreateExportPackPayload, {
    description:
      'Makes the evidence pack of a day, and of every earlier day that has none. A pack that exists is returned as it is.',
  })
  @Audited('CREATE', [Role.AUDITOR, Role.ADMIN])
  async createExportPack(
    @Arg('input', () => CreateExportPackInput) input: CreateExportPackInput,
    @Ctx() context: RequestContext,
  ): Promise<{ pack: PackRow }> {
    const { packs, shutdown } = context.services;
    const pack = await createPack(packs, {
      date: input.date,
      kind: input.partial ? 'PARTIAL' : 'DAY',
      origin: context.calls.origin,
      signal: shutdown,
    });
    return { pack };
  }
}
