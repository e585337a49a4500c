import { Arg, Resolver, Root, Subscription } from 'type-graphql';
import { anyRole } from '../access/audited.js';
import type { RequestContext } from '../access/request-context.js';
import { LogNameEnum } from '../graphql/log-name.js';
import { openEvents, type EventSource } from '../graphql/open-events.js';
import { logNames, type LogName } from '../ledger/rows.js';
import './proof-services.js';
import { Checkpoint, MerkleRoot } from './proof.type.js';
import { readCheckpointsAfter, readLastCheckpointNumber, type CheckpointRow } from './read-checkpoints.js';
import { readLastRootNumber, readRootsAfter, type MerkleRootRow } from './read-merkle-roots.js';

/** Items read at a time for one subscriber. */
const itemsPerRead = 100;

type Args = Readonly<Record<string, unknown>>;

@Resolver()
export class ProofEventResolver {
  @Subscription(() => Checkpoint, {
    description:
      'Each checkpoint that is signed from now on, in order of signing; a day’s root may be smaller than others.',
    subscribe: ({ args, context }) => checkpoints(context as RequestContext, args as Args),
  })
  checkpointSigned(
    @Root() checkpoint: CheckpointRow,
    @Arg('log', () => LogNameEnum, { nullable: true, description: 'Absent: both.' }) _log: LogName | undefined,
  ): object {
    return checkpoint;
  }

  @Subscription(() => MerkleRoot, {
    description: 'Each day’s root that is sealed from now on.',
    subscribe: ({ args, context }) => roots(context as RequestContext, args as Args),
  })
  merkleRootSealed(
    @Root() root: MerkleRootRow,
    @Arg('log', () => LogNameEnum, { nullable: true, description: 'Absent: both.' }) _log: LogName | undefined,
  ): object {
    return root;
  }
}

function checkpoints(context: RequestContext, args: Args) {
  const { database, proofs } = context.services;
  const logs = listLogs(args);
  // One place for each log, as signers of different logs do not wait for each other.
  const places = new Map<LogName, string>();
  let version = -1;
  const source: EventSource<CheckpointRow> = {
    field: 'checkpointSigned',
    roles: anyRole,
    changed: (signal) => proofs.watch.changed(version, signal),
    begin: async () => {
      for (const log of logs) places.set(log, await readLastCheckpointNumber(database, log));
    },
    readNext: async () => {
      version = proofs.watch.version;
      const found = await Promise.all(
        logs.map((log) => {
          const place = places.get(log) ?? '0';
          // Subscribers that are up to date stand at one place.
          return proofs.watch.shared(`checkpoints ${log} ${place}`, () =>
            readCheckpointsAfter(database, log, place, itemsPerRead),
          );
        }),
      );
      const items = found.flat().sort((left, right) => Number(left.number) - Number(right.number));
      for (const { log, number } of items) places.set(log, number);
      return items;
    },
  };
  return openEvents(context, source, args);
}

function listLogs(args: Args): readonly LogName[] {
  const log = args.log as LogName | null | undefined;
  return log === null || log === undefined ? logNames : [log];
}

function roots(context: RequestContext, args: Args) {
  const { database, proofs } = context.services;
  const log = (args.log as LogName | null | undefined) ?? null;
  // Roots of both logs are numbered under the ledger lock, in the order in which they become visible.
  let place = '0';
  let version = -1;
  const source: EventSource<MerkleRootRow> = {
    field: 'merkleRootSealed',
    roles: anyRole,
    changed: (signal) => proofs.watch.changed(version, signal),
    begin: async () => {
      place = await readLastRootNumber(database);
    },
    readNext: async () => {
      version = proofs.watch.version;
      const items = await proofs.watch.shared(`roots ${log ?? ''} ${place}`, () =>
        readRootsAfter(database, log, place, itemsPerRead),
      );
      place = items.at(-1)?.number ?? place;
      return items;
    },
  };
  return openEvents(context, source, args);
}
