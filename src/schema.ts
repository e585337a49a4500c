import 'reflect-metadata';
import { GraphQLInputObjectType, GraphQLObjectType, specifiedDirectives, type GraphQLSchema } from 'graphql';
import { buildSchemaSync, type PubSub } from 'type-graphql';
import { sensitiveDirective } from './access/sensitive.js';
import { ApiKeyResolver } from './api-keys/api-key.resolver.js';
import { AuditEntryResolver, SignalAuditEntriesResolver } from './audit/audit-entry.resolver.js';
import { AuditStatsResolver } from './audit/audit-stats.resolver.js';
import { EventResolver } from './audit/event.resolver.js';
import { ConfigSnapshotResolver } from './config-snapshots/config-snapshot.resolver.js';
import { IntegrityResolver } from './integrity/integrity.resolver.js';
import { PackResolver } from './packs/pack.resolver.js';
import { ProofEventResolver } from './proofs/proof-events.resolver.js';
import {
  AuditEntryProofResolver,
  MerkleRootResolver,
  ProofResolver,
  SignalProofResolver,
} from './proofs/proof.resolver.js';
import { RedactionResolver } from './redaction/redaction.resolver.js';
import { ArchivedEntriesResolver, RetentionResolver } from './retention/retention.resolver.js';
import { SecretResolver } from './secrets/secret.resolver.js';
import { SignalResolver } from './signals/signal.resolver.js';
import { SinkResolver } from './sinks/sink.resolver.js';
import { TraceResolver } from './trace/trace.resolver.js';
import type { SignalRow } from './ledger/rows.js';

/** Every resolver, listed so that a file lying about is not served. */
const resolvers = [
  SignalResolver,
  AuditEntryResolver,
  SignalAuditEntriesResolver,
  AuditStatsResolver,
  EventResolver,
  ApiKeyResolver,
  ProofResolver,
  MerkleRootResolver,
  SignalProofResolver,
  AuditEntryProofResolver,
  ProofEventResolver,
  IntegrityResolver,
  PackResolver,
  RedactionResolver,
  ConfigSnapshotResolver,
  TraceResolver,
  SinkResolver,
  RetentionResolver,
  ArchivedEntriesResolver,
  SecretResolver,
] as const;

/** type-graphql asks for one although every subscription here brings its own source; nothing is ever published. */
const noPubSub = {
  publish: () => {
    throw new Error('feeds read from the ledger: nothing is published');
  },
  subscribe: () => {
    throw new Error('feeds read from the ledger: nothing is published');
  },
} satisfies PubSub;

/** The executable schema. */
export function buildDaybookSchema(): GraphQLSchema {
  const directives = [...specifiedDirectives, sensitiveDirective];
  const schema = buildSchemaSync({ resolvers: [...resolvers], validate: false, pubSub: noPubSub, directives });
  finishSchema(schema);
  return schema;
}

/** What type-graphql cannot say: an input of which exactly one member is given, and a renamed field without a wrapper. */
function finishSchema(schema: GraphQLSchema): void {
  const event = schema.getType('EventInput');
  if (event instanceof GraphQLInputObjectType) event.isOneOf = true;
  const signal = schema.getType('Signal');
  const id = signal instanceof GraphQLObjectType ? signal.getFields().id : undefined;
  if (id !== undefined) id.resolve = (row: SignalRow) => row.signalId;
}
