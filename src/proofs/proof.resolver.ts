import { Arg, Args, Ctx, FieldResolver, Mutation, Query, Resolver, Root } from 'type-graphql';
import { anyRole, Audited, auditReaders, requireRole } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import { AuditEntry } from '../audit/audit-entry.type.js';
import { encodeVerifierKey } from '../core/verifier-key.js';
import { numberedConnection, ForwardPageArgs, type Connection } from '../graphql/connection.js';
import { LogNameEnum } from '../graphql/log-name.js';
import { BigIntScalar, DateScalar } from '../graphql/scalars.js';
import type { LogName } from '../ledger/rows.js';
import { Signal } from '../signals/signal.type.js';
import './proof-services.js';
import {
  Anchor,
  Checkpoint,
  ConsistencyProof,
  InclusionProof,
  MerkleRoot,
  MerkleRootConnection,
  SealLogInput,
  SealLogPayload,
  SigningKey,
} from './proof.type.js';
import { loadInclusionProof } from './load-inclusion-proof.js';
import { proveConsistency } from './prove.js';
import type { CheckpointRow } from './read-checkpoints.js';
import { readAnchorsOf } from './anchors-of-root.js';
import { readMerkleRoot, readMerkleRootPage, readLastMerkleRoot, type MerkleRootRow } from './read-merkle-roots.js';
import { readVerifierKeys } from './read-verifier-keys.js';
import { parseIndex, parseSize } from './tree-size.js';

/** Who may look at a log: the audit log is for those who may read it. */
function readersOf(log: LogName): readonly Role[] {
  return log === 'audit' ? auditReaders : anyRole;
}

@Resolver()
export class ProofResolver {
  @Query(() => Checkpoint, { description: 'The newest signed tree head of a log.' })
  @Audited('READ', anyRole)
  checkpoint(@Arg('log', () => LogNameEnum) log: LogName, @Ctx() context: RequestContext): Promise<CheckpointRow> {
    return context.services.proofs.signer.coveringCheckpoint(log, 0);
  }

  @Query(() => [String], { description: 'Verifier keys of both logs, ended ones included: what an auditor pins.' })
  @Audited('READ', anyRole)
  async verifierKeys(@Ctx() context: RequestContext): Promise<string[]> {
    return (await listSigningKeys(context)).map((key) => key.verifierKey);
  }

  @Query(() => [SigningKey], { description: 'The same keys with the time in which each signs.' })
  @Audited('READ', anyRole)
  signingKeys(@Ctx() context: RequestContext): Promise<SigningKey[]> {
    return listSigningKeys(context);
  }

  @Query(() => InclusionProof, { description: 'Proves that an entry is in its log.' })
  @Audited('READ', anyRole)
  inclusionProof(
    @Arg('log', () => LogNameEnum) log: LogName,
    @Arg('index', () => BigIntScalar) index: string,
    @Arg('treeSize', () => BigIntScalar, {
      nullable: true,
      description: 'A size that was signed; absent: the newest checkpoint, signed now where the entry is that fresh.',
    })
    treeSize: string | undefined,
    @Ctx() context: RequestContext,
  ): Promise<InclusionProof> {
    return prove(context, log, parseIndex(index), treeSize);
  }

  @Query(() => ConsistencyProof, { description: 'Proves that a larger tree of a log continues a smaller one.' })
  @Audited('READ', anyRole)
  consistencyProof(
    @Arg('log', () => LogNameEnum) log: LogName,
    @Arg('fromSize', () => BigIntScalar) fromSize: string,
    @Arg('toSize', () => BigIntScalar, { nullable: true, description: 'Absent: the newest checkpoint.' })
    toSize: string | undefined,
    @Ctx() context: RequestContext,
  ): Promise<object> {
    const { database, proofs } = context.services;
    return proveConsistency(
      { database, signer: proofs.signer, nodes: proofs.nodes },
      log,
      parseSize('fromSize', fromSize),
      toSize === undefined || toSize === null ? null : parseSize('toSize', toSize),
    );
  }
}

@Resolver(() => MerkleRoot)
export class MerkleRootResolver {
  @Query(() => MerkleRoot, { nullable: true, description: 'The root of one day; null where it is not sealed.' })
  @Audited('READ', anyRole)
  merkleRoot(
    @Arg('log', () => LogNameEnum) log: LogName,
    @Arg('date', () => DateScalar) date: string,
    @Ctx() context: RequestContext,
  ): Promise<MerkleRootRow | null> {
    return readMerkleRoot(context.services.database, log, date);
  }

  @Query(() => MerkleRootConnection, { description: 'Sealed roots, the newest first.' })
  @Audited('READ', anyRole)
  async merkleRoots(
    @Arg('log', () => LogNameEnum, { nullable: true }) log: LogName | undefined,
    @Arg('from', () => DateScalar, { nullable: true, description: 'The first day.' }) from: string | undefined,
    @Arg('to', () => DateScalar, { nullable: true, description: 'The last day.' }) to: string | undefined,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
  ): Promise<Connection> {
    const selection = { log: log ?? null, from: from ?? null, to: to ?? null };
    return numberedConnection(await readMerkleRootPage(context.services.database, selection, page));
  }

  @Mutation(() => SealLogPayload, { description: 'Seals the days of a log that have ended and have no root yet.' })
  @Audited('EXECUTE', [Role.ADMIN])
  async sealLog(
    @Arg('input', () => SealLogInput) { log, date }: SealLogInput,
    @Ctx() context: RequestContext,
  ): Promise<object> {
    const { database, proofs } = context.services;
    const until = date ?? null;
    const sealed = await proofs.seal(log, until, context.calls.origin.actor ?? 'unknown');
    const merkleRoot =
      until === null ? await readLastMerkleRoot(database, log) : await readMerkleRoot(database, log, until);
    return { sealed, merkleRoot };
  }

  @FieldResolver(() => [Anchor], { description: 'Where the root is kept or vouched for outside the database.' })
  anchors(@Root() root: MerkleRootRow, @Ctx() context: RequestContext): Promise<object[]> {
    return readAnchorsOf(context, root);
  }
}

/** Proofs as fields of what they prove. */
@Resolver(() => Signal)
export class SignalProofResolver {
  @FieldResolver(() => InclusionProof, { description: 'Proves that this signal is in its log.' })
  inclusionProof(
    @Root() signal: { readonly chainIndex: string },
    @Arg('treeSize', () => BigIntScalar, { nullable: true }) treeSize: string | undefined,
    @Ctx() context: RequestContext,
  ): Promise<InclusionProof> {
    return prove(context, 'signals', Number(signal.chainIndex), treeSize);
  }
}

@Resolver(() => AuditEntry)
export class AuditEntryProofResolver {
  @FieldResolver(() => InclusionProof, { description: 'Proves that this entry is in its log.' })
  inclusionProof(
    @Root() entry: { readonly chainIndex: string },
    @Arg('treeSize', () => BigIntScalar, { nullable: true }) treeSize: string | undefined,
    @Ctx() context: RequestContext,
  ): Promise<InclusionProof> {
    return prove(context, 'audit', Number(entry.chainIndex), treeSize);
  }
}

async function prove(
  context: RequestContext,
  log: LogName,
  index: number,
  treeSize: string | null | undefined,
): Promise<InclusionProof> {
  requireRole(context.calls, readersOf(log));
  const size = treeSize === undefined || treeSize === null ? null : parseSize('treeSize', treeSize);
  return { ...(await loadInclusionProof(context, { log, index, treeSize: size })) } as InclusionProof;
}

async function listSigningKeys(context: RequestContext): Promise<SigningKey[]> {
  const { database, proofs } = context.services;
  const keys = await readVerifierKeys(database, proofs.keys);
  return keys.map(({ log, verifierKey, validFrom, validUntil }) => ({
    log,
    origin: verifierKey.name,
    keyId: verifierKey.keyId,
    verifierKey: encodeVerifierKey(verifierKey),
    validFrom,
    validUntil,
  }));
}
