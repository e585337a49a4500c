import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import { Audited, auditReaders, currentCall } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import { ForwardPageArgs, numberedConnection, type Connection } from '../graphql/connection.js';
import './config-snapshot-service.js';
import {
  ConfigSnapshot,
  ConfigSnapshotConnection,
  ConfigSnapshotFile,
  CreateConfigSnapshotInput,
  CreateConfigSnapshotPayload,
} from './config-snapshot.type.js';
import { readSnapshots, type ConfigSnapshotRow } from './read-snapshots.js';

@Resolver(() => ConfigSnapshot)
export class ConfigSnapshotResolver {
  @Query(() => ConfigSnapshotConnection, { description: 'Snapshots of the configuration, newest first.' })
  @Audited('READ', auditReaders)
  async configSnapshots(
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
  ): Promise<Connection> {
    return numberedConnection(await readSnapshots(context.services.database, page));
  }

  @Query(() => String, {
    description:
      'What differs between two snapshots as a unified diff that git apply takes; its first line says what made it. Empty where nothing differs.',
  })
  @Audited('READ', auditReaders)
  async configDiff(
    @Arg('from', () => ID) from: string,
    @Arg('to', () => ID) to: string,
    @Ctx() context: RequestContext,
  ): Promise<string> {
    return (await context.services.configSnapshots.diff(from, to)).text;
  }

  @Mutation(() => CreateConfigSnapshotPayload, {
    description: 'Takes a snapshot of the configuration of the node that answers.',
  })
  @Audited('CREATE', [Role.ADMIN])
  async createConfigSnapshot(
    @Arg('input', () => CreateConfigSnapshotInput) { reason }: CreateConfigSnapshotInput,
    @Ctx() context: RequestContext,
  ): Promise<{ snapshot: ConfigSnapshotRow }> {
    const { calls, services } = context;
    const call = currentCall(context);
    const snapshot = await services.configSnapshots.take({
      occasion: 'DEMAND',
      reason,
      origin: calls.origin,
      append: (request) => calls.appendWithCall(call, request),
    });
    return { snapshot };
  }

  @FieldResolver(() => [ConfigSnapshotFile], { description: 'In the order of their paths.' })
  async files(@Root() row: ConfigSnapshotRow, @Ctx() context: RequestContext): Promise<object[]> {
    const files = await context.services.configSnapshots.filesOf(row);
    return files.map((file) => ({ ...file, size: file.size === null ? null : String(file.size) }));
  }

  @FieldResolver(() => String, { description: 'What changed since the previous snapshot, as configDiff.' })
  async diff(@Root() row: ConfigSnapshotRow, @Ctx() context: RequestContext): Promise<string> {
    return (await context.services.configSnapshots.diffOf(row))?.text ?? '';
  }
}
