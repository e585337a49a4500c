import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from './access/request-calls.js';
import type { Anchor } from './anchors/anchor.js';
import { readAnchorBacklog } from './anchors/anchor-roots.js';
import { storeAnchor } from './anchors/store-anchor.js';
import { timestampAnchor } from './anchors/timestamp-anchor.js';
import { parseWitnesses } from './anchors/witness.js';
import { witnessAnchor } from './anchors/witness-anchor.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import type { LoginSource } from './db/login.js';
import { DaybookError } from './errors.js';
import type { ProofFigures } from './http/proof-gauges.js';
import { logNames, type LogName } from './ledger/rows.js';
import { TreeNodeCache } from './ledger/tree-node-cache.js';
import { CheckpointFiles } from './proofs/known-checkpoints.js';
import { CheckpointSigner } from './proofs/checkpoint-signer.js';
import { LogPublisher } from './proofs/log-publisher.js';
import type { ProofServices } from './proofs/proof-services.js';
import { readLogFigures } from './proofs/read-figures.js';
import type { MerkleRootRow } from './proofs/read-merkle-roots.js';
import { sealDays } from './proofs/seal-days.js';
import { SigningKeys } from './proofs/signing-keys.js';
import { ProofWatch } from './proofs/watch-proofs.js';
import { UnsignedWatch } from './proofs/watch-unsigned.js';
import { fingerprintOf, proofFaultReports } from './report-proof-faults.js';
import { openRootKey } from './open-root-key.js';
import { openDirectoryStore } from './storage/directory-store.js';
import type { ObjectStore } from './storage/object-store.js';
import { openS3Store } from './storage/s3-store.js';

export interface ProofParts {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly pool: pg.Pool;
  /** Login of the application. */
  readonly url: LoginSource;
  readonly append: Append;
  readonly onRefusal: (log: LogName, error: DaybookError | null) => Promise<void>;
  /** Called when days were sealed: their roots wait for their anchors. */
  readonly onSealed?: () => Promise<void>;
}

/** Everything that signs, publishes, seals and anchors on this node. */
export interface ProofNode {
  readonly services: ProofServices;
  readonly store: ObjectStore | null;
  readonly files: CheckpointFiles;
  readonly publisher: LogPublisher | null;
  readonly anchors: readonly Anchor[];
  readonly unsigned: UnsignedWatch;
}

/** Builds the proofs' part of a node; `stack` takes over what has to be closed. */
export async function openProofs(parts: ProofParts, stack: AsyncDisposableStack): Promise<ProofNode> {
  const { config, log, clock, pool, url, append } = parts;
  const reports = proofFaultReports({ pool, append });
  const keys = await openKeys(parts);
  const files = new CheckpointFiles(join(config.dataDir, 'checkpoints'));
  const store = openStore(config);
  if (store !== null) stack.use(store);
  const publisher =
    store === null
      ? null
      : stack.use(
          new LogPublisher({
            database: pool,
            url,
            store,
            keys,
            seen: openSeenCheckpoints(config, store),
            onLoss: reports.loss,
            intervalMs: config.store.publishIntervalMs,
            log,
          }),
        );
  const anchors = await openAnchors(parts, store);
  await publisher?.start(config.anchors.store === 'required');
  const signer = stack.use(
    new CheckpointSigner({
      url,
      database: pool,
      intervalMs: config.checkpointIntervalMs,
      clock,
      log,
      keys,
      files,
      published: (name) => publisher?.published(name) ?? null,
      isStoreUnread: (name) => publisher?.isUnread(name) ?? false,
      onRefusal: parts.onRefusal,
    }),
  );
  const watch = stack.use(new ProofWatch({ url, database: pool, log }));
  const { checkpointIntervalMs } = config;
  const unsigned = stack.use(
    new UnsignedWatch({ database: pool, checkpointIntervalMs, log, onOverdue: reports.unsigned }),
  );
  const seal = async (name: LogName, until: string | null, sealedBy: string): Promise<MerkleRootRow[]> => {
    const sealed = await sealDays({ pool, signer, append, anchors, sealedBy }, name, until);
    if (sealed.length > 0) await parts.onSealed?.();
    return sealed;
  };
  return {
    services: { keys, signer, watch, append, seal, nodes: new TreeNodeCache() },
    store,
    files,
    publisher,
    anchors,
    unsigned,
  };
}

/** The logs' keys alone, for a command that signs something beside a running service. */
export async function openKeys({
  config,
  pool,
  append,
  log,
}: Pick<ProofParts, 'config' | 'pool' | 'append' | 'log'>): Promise<SigningKeys> {
  return SigningKeys.open({ database: pool, append, root: await openRootKey(config), origin: config.origin, log });
}

/** The store that logs are published to; null where that is switched off. */
export function openStore({ anchors, store }: Config): ObjectStore | null {
  if (anchors.store === 'off') return null;
  return store.s3 === undefined ? openDirectoryStore(store.folder) : openS3Store(store.s3);
}

/** What this node saw in a store: another store begins with nothing. */
export function openSeenCheckpoints({ dataDir }: Config, store: ObjectStore): CheckpointFiles {
  return new CheckpointFiles(join(dataDir, 'published', fingerprintOf(store.description)));
}

/** The anchors that new roots get, as configured. Throws CONFIG_INVALID where one is unusable. */
export async function openAnchors(
  { config, pool, clock }: Pick<ProofParts, 'config' | 'pool' | 'clock'>,
  store: ObjectStore | null,
): Promise<Anchor[]> {
  const { store: storeMode, timestamp, authority, witness, witnesses, retentionDays } = config.anchors;
  const anchors: Anchor[] = [];
  if (store !== null && storeMode !== 'off')
    anchors.push(storeAnchor({ store, mode: storeMode, retentionDays, clock }));
  if (timestamp !== 'off' && authority !== undefined) {
    const trustedCertificates = [await readCertificates(authority.certificatesFile)];
    anchors.push(timestampAnchor({ url: authority.url, trustedCertificates, mode: timestamp, store }));
  }
  if (witness !== 'off' && witnesses !== undefined) {
    for (const one of parseWitnesses(witnesses)) {
      anchors.push(witnessAnchor({ witness: one, mode: witness, database: pool, store, clock }));
    }
  }
  return anchors;
}

async function readCertificates(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new DaybookError('CONFIG_INVALID', `DAYBOOK_TSA_CA_FILE cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** What health reports about signing and publishing. */
export function describeProofs({ services, publisher, unsigned }: ProofNode) {
  return Object.fromEntries(
    logNames.map((log) => {
      const { refusal, lastError, newestSize } = services.signer.state(log);
      const published = publisher?.state(log) ?? { publishedSize: null, lastError: null };
      return [
        log,
        {
          refusal,
          canSign: services.keys.canSign(log),
          lastError,
          newestSize,
          publishedSize: published.publishedSize,
          publishingError: published.lastError,
          unsigned: unsigned.state(log),
        },
      ];
    }),
  );
}

/** What the gauges show. */
export async function readProofFigures(pool: pg.Pool, { services, publisher }: ProofNode): Promise<ProofFigures> {
  const logs = (await readLogFigures(pool)).map((figures) => {
    const publishedSize = publisher?.state(figures.log).publishedSize ?? null;
    return {
      log: figures.log,
      checkpointSize: figures.checkpointSize,
      checkpointAgeSeconds: figures.checkpointAgeSeconds,
      unsignedAgeSeconds: figures.unsignedAgeSeconds,
      publishedSize,
      signerRefuses: services.signer.state(figures.log).refusal !== null,
      unanchoredEntries: Math.max(0, figures.entries - Math.max(figures.anchoredSize, publishedSize ?? 0)),
    };
  });
  const incidents = await pool.query<{ open: number }>(
    "SELECT count(*)::int AS open FROM public.incidents WHERE status <> 'CLOSED'",
  );
  return { logs, anchors: await readAnchorBacklog(pool), openIncidents: incidents.rows[0]?.open ?? 0 };
}
