import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from '../access/request-calls.js';
import type { Clock } from '../clock.js';
import type { PackEncoding } from '../core/pack-encoding.js';
import type { ManifestSignature, PackManifest } from '../core/pack-manifest.js';
import type { LogName } from '../ledger/rows.js';
import type { WorkerEntry } from '../ledger/verify-workers.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { PackHead } from './pack-range.js';

/** A root as the proofs' feature hands it over. */
interface SealedDay extends PackHead {
  readonly date: string;
}

/** What packs take from other features; built by open-packs.ts. */
export interface PackSources {
  /** Seals every day up to `date` that has none; throws DAY_NOT_OVER where it has not ended. */
  readonly sealUntil: (log: LogName, date: string) => Promise<void>;
  readonly readRoot: (log: LogName, date: string) => Promise<SealedDay | null>;
  readonly readFirstRootDate: () => Promise<string | null>;
  /** A checkpoint of all entries there are now. */
  readonly signHead: (log: LogName) => Promise<PackHead>;
  readonly originOf: (log: LogName) => string;
  /** Under the keys of the audit log that sign now. Throws SIGNING_UNAVAILABLE. */
  readonly sign: (bytes: Uint8Array) => ManifestSignature[];
  /** The roots' anchors with their evidence as base64. */
  readonly readAnchors: (date: string) => Promise<PackAnchor[]>;
  /** Takes a snapshot of the configuration; the diff is against the one that the pack before this one holds. */
  readonly snapshotConfig: (reason: string) => Promise<{ readonly snapshot: string; readonly diff: string }>;
}

export type PackAnchor = PackManifest['anchors'][number] & {
  readonly at: string;
  readonly evidence: string | null;
};

/** What making packs needs. */
export interface PackServices {
  readonly database: pg.Pool;
  /** URL of the auditor role: packs are read through it, in one snapshot. */
  readonly readerUrl: string;
  /** The module that writes the entries of large packs: pack-entries-worker. */
  readonly workerEntry?: WorkerEntry;
  readonly append: Append;
  readonly sources: PackSources;
  /** Folder that packs are written to. */
  readonly folder: string;
  /** Where packs are kept beside the node; null for nowhere. */
  readonly store: ObjectStore | null;
  readonly encoding: PackEncoding;
  readonly generator: PackManifest['generator'];
  readonly clock: Clock;
  readonly log: Logger;
}

declare module '../access/request-context.js' {
  interface Services {
    readonly packs: PackServices;
  }
}
