import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from './access/request-calls.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import type { PackEncoding } from './core/pack-encoding.js';
import { encodeManifestSignature, type ManifestSignature, type PackManifest } from './core/pack-manifest.js';
import { encodeVerifierKey } from './core/verifier-key.js';
import { DaybookError } from './errors.js';
import { logs, type LogName } from './ledger/rows.js';
import type { ProofNode } from './open-proofs.js';
import { parseRecipients } from './packs/age.js';
import type { PackAnchor, PackServices, PackSources } from './packs/pack-services.js';
import type { PackStoreOptions } from './packs/store-packs.js';
import { readMerkleRoot } from './proofs/read-merkle-roots.js';

/** The log whose keys sign manifests. */
const signingLog: LogName = 'audit';

export interface PackParts {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly pool: pg.Pool;
  /** URL of the auditor role. */
  readonly readerUrl: string;
  readonly append: Append;
  readonly proofs: Pick<ProofNode, 'services' | 'store'>;
  readonly snapshotConfig: PackSources['snapshotConfig'];
  readonly generator: PackManifest['generator'];
}

/** What makes evidence packs on this node. Throws CONFIG_INVALID where the file of recipients cannot be used. */
export async function openPacks(parts: PackParts): Promise<PackServices> {
  const { config, log, clock, pool, readerUrl, append } = parts;
  return {
    database: pool,
    readerUrl,
    append,
    sources: packSources(parts),
    folder: config.packs.folder,
    store: parts.proofs.store,
    encoding: await readEncoding(config.packs),
    generator: parts.generator,
    clock,
    log,
  };
}

async function readEncoding({ compression, recipientsFile }: Config['packs']): Promise<PackEncoding> {
  if (recipientsFile === undefined) return { compression, recipients: [] };
  const text = await readFile(recipientsFile, 'utf8').catch((error: unknown) => {
    const reason = (error as Error).message;
    throw new DaybookError('CONFIG_INVALID', `DAYBOOK_PACK_RECIPIENTS_FILE cannot be read: ${reason}`, {
      cause: error,
    });
  });
  return { compression, recipients: parseRecipients(text, recipientsFile, 'CONFIG_INVALID') };
}

/** Null where nothing is kept outside the node. */
export function packStoreOptions({ config, proofs, clock, log }: PackParts): PackStoreOptions | null {
  if (proofs.store === null) return null;
  return { store: proofs.store, folder: config.packs.folder, lockDays: config.packs.lockDays, clock, log };
}

function packSources({ pool, proofs, snapshotConfig }: PackParts): PackSources {
  const { keys, signer, seal } = proofs.services;
  return {
    sealUntil: async (log, date) => {
      if ((await readMerkleRoot(pool, log, date)) === null) await seal(log, date, 'evidence pack');
    },
    readRoot: async (log, date) => {
      const root = await readMerkleRoot(pool, log, date);
      return root === null
        ? null
        : { date, treeSize: Number(root.treeSize), rootHash: root.rootHash, note: root.checkpoint };
    },
    readFirstRootDate: () => readFirstRootDate(pool),
    signHead: async (log) => {
      const found = await pool.query<{ size: string }>(
        `SELECT coalesce(max(chain_index) + 1, 0) AS size FROM public.${logs[log].table}`,
      );
      const { treeSize, rootHash, note } = await signer.checkpointOfSize(log, Number(found.rows[0]?.size ?? 0));
      return { treeSize: Number(treeSize), rootHash, note };
    },
    originOf: (log) => keys.originOf(log),
    sign: (bytes) => signManifest(keys, bytes),
    readAnchors: (date) => readAnchors(pool, date),
    snapshotConfig,
  };
}

function signManifest(keys: ProofNode['services']['keys'], bytes: Uint8Array): ManifestSignature[] {
  const verifiers = keys.verifiersOf(signingLog);
  return keys.sign(signingLog, Buffer.from(bytes).toString()).map(({ keyId, signature }) => {
    const verifier = verifiers.find((key) => key.keyId === keyId);
    if (verifier === undefined) throw new TypeError(`the key ${keyId} signs and is not published`);
    return encodeManifestSignature(encodeVerifierKey(verifier), signature);
  });
}

async function readFirstRootDate(pool: pg.Pool): Promise<string | null> {
  const found = await pool.query<{ first: string | null }>('SELECT min(date)::text AS first FROM public.merkle_roots');
  return found.rows[0]?.first ?? null;
}

async function readAnchors(pool: pg.Pool, date: string): Promise<PackAnchor[]> {
  const found = await pool.query<PackAnchor>(
    `SELECT log, kind, target, mode, status, reference, coalesce(anchored_at, created_at) AS at,
       encode(evidence, 'base64') AS evidence
     FROM public.anchors WHERE date = $1 ORDER BY log, kind, target`,
    [date],
  );
  return found.rows;
}
