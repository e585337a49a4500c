import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { DaybookError } from './errors.js';

/**
 * Everything the service takes from its environment: the only place that reads it. docs/configuration.md holds the same
 * table and a test compares the two. An empty value counts as absent.
 */
const port = z.coerce.number().int().min(1).max(65_535);

const anchorMode = z.enum(['off', 'best-effort', 'required']);

const masterKey = z
  .string()
  .regex(/^[0-9a-f]{64}$/i, 'must be 32 bytes as 64 hexadecimal digits: openssl rand -hex 32 makes one');

const kmsKeyId = z
  .string()
  .regex(
    /^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)\/[\w/-]{1,256}|alias\/[\w/-]{1,250}|[\w-]{1,100})$/,
    'must be the id, alias or ARN of an AWS KMS key',
  );

const environmentShape = {
  DAYBOOK_HOST: z
    .string()
    .refine((host) => isIP(host) !== 0 || /^[A-Za-z0-9.-]+$/.test(host), 'must be an IP address or a host name')
    .default('127.0.0.1'),
  DAYBOOK_PORT: port.default(4000),
  DAYBOOK_DATA_DIR: z.string().default('./var'),
  // Below the range from which systems take the ports of outgoing connections.
  DAYBOOK_POSTGRES_PORT: port.default(15_432),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must start with postgres:// or postgresql://')
    .optional(),
  DAYBOOK_ORIGIN: z
    .string()
    .regex(
      /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(\/[a-z0-9.-]+)*$/,
      'must be a host name with optional path, as in daybook.example',
    )
    .default('daybook.local'),
  DAYBOOK_ADMIN_KEY: z.string().min(16, 'must have at least 16 characters').optional(),
  DAYBOOK_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  DAYBOOK_DATABASE_POOL: z.coerce.number().int().min(2).max(100).default(8),
  DAYBOOK_APPEND_QUEUE_MAX: z.coerce.number().int().min(1).max(1_000_000).default(20_000),
  DAYBOOK_TRUST_PROXY: z.coerce.number().int().min(0).max(10).default(0),
  DAYBOOK_MASTER_KEY: masterKey.optional(),
  DAYBOOK_FORMER_MASTER_KEY: masterKey.optional(),
  DAYBOOK_KMS_KEY_ID: kmsKeyId.optional(),
  DAYBOOK_KMS_REGION: z
    .string()
    .regex(/^[a-z0-9-]+$/, 'must be a region such as eu-central-1')
    .optional(),
  DAYBOOK_KMS_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  DAYBOOK_FORMER_KMS_KEY_ID: kmsKeyId.optional(),
  DAYBOOK_CHECKPOINT_SECONDS: z.coerce.number().min(0.05).max(10).default(2),
  DAYBOOK_STORE_DIR: z.string().optional(),
  DAYBOOK_S3_BUCKET: z.string().min(3).max(255).optional(),
  DAYBOOK_S3_PREFIX: z
    .string()
    .regex(/^(?!\.)[\w.-]+(\/(?!\.)[\w.-]+)*$/, 'must be a relative path such as daybook/production')
    .max(500)
    .optional(),
  DAYBOOK_S3_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  DAYBOOK_S3_REGION: z.string().min(1).default('us-east-1'),
  DAYBOOK_PUBLISH_SECONDS: z.coerce.number().min(0.05).max(3_600).default(10),
  DAYBOOK_ANCHOR_STORE: anchorMode.default('best-effort'),
  DAYBOOK_ROOT_RETENTION_DAYS: z.coerce.number().int().min(1).max(36_525).default(2_557),
  DAYBOOK_ANCHOR_TIMESTAMP: anchorMode.optional(),
  DAYBOOK_TSA_URL: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  DAYBOOK_TSA_CA_FILE: z.string().optional(),
  DAYBOOK_ANCHOR_WITNESS: anchorMode.optional(),
  DAYBOOK_WITNESSES: z.string().optional(),
  DAYBOOK_INTEGRITY_RECENT_MINUTES: z.coerce.number().int().min(1).max(1_440).default(15),
  DAYBOOK_REDACTION_RULES_FILE: z.string().optional(),
  DAYBOOK_PACK_DIR: z.string().optional(),
  DAYBOOK_PACK_RETENTION_DAYS: z.coerce.number().int().min(1).max(36_525).default(90),
  DAYBOOK_PACK_LOCK_DAYS: z.coerce.number().int().min(1).max(36_525).default(2_557),
  DAYBOOK_PACK_COMPRESSION: z.enum(['none', 'gzip']).default('none'),
  DAYBOOK_PACK_RECIPIENTS_FILE: z.string().optional(),
  DAYBOOK_CONFIG_FILES: z.string().max(100_000).optional(),
  DAYBOOK_CONFIG_ROOT: z.string().optional(),
  DAYBOOK_CONFIG_FILE_BYTES: z.coerce.number().int().min(1_024).max(16_777_216).default(1_048_576),
  DAYBOOK_CONFIG_TOTAL_BYTES: z.coerce.number().int().min(1_024).max(67_108_864).default(16_777_216),
  DAYBOOK_CONFIG_DIFF_CONTEXT: z.coerce.number().int().min(0).max(100).default(3),
  DAYBOOK_GIT: z
    .string()
    .regex(/^(off|\/.*)$/, 'must be off or an absolute path')
    .optional(),
  DAYBOOK_TRACE_WINDOW_MINUTES: z.coerce.number().int().min(1).max(44_640).default(1_440),
  DAYBOOK_LOG_FILES: z.enum(['on', 'off']).default('on'),
  DAYBOOK_LOG_DIR: z.string().optional(),
  DAYBOOK_LOG_GZIP: z.enum(['on', 'off']).default('on'),
  DAYBOOK_LOG_KEY_FILE: z.string().optional(),
  DAYBOOK_LOG_ENCRYPT: z.enum(['line', 'details']).default('line'),
  DAYBOOK_SINKS_FILE: z.string().optional(),
  DAYBOOK_AUDIT_ONLINE_DAYS: z
    .union([z.literal('forever'), z.coerce.number().positive().max(36_525)], {
      error: 'must be a number of days above 0, or forever',
    })
    .default(90),
  DAYBOOK_ARCHIVE_YEARS: z.coerce.number().int().min(1).max(100).default(7),
  DAYBOOK_RESTORED_DAYS: z.coerce.number().int().min(1).max(3_650).default(30),
  DAYBOOK_DRIFT_CHECK_HOURS: z.coerce.number().min(0.1).max(720).default(24),
  DAYBOOK_JOBS: z.enum(['on', 'off']).default('on'),
} as const;

const environmentSchema = z.object(environmentShape).superRefine((values, refinement) => {
  const needs = (mode: 'DAYBOOK_ANCHOR_TIMESTAMP' | 'DAYBOOK_ANCHOR_WITNESS', ...names: (keyof typeof values)[]) => {
    for (const name of names) {
      if (values[mode] === undefined || values[mode] === 'off' || values[name] !== undefined) continue;
      refinement.addIssue({ code: 'custom', path: [name], message: `must be set where ${mode} is ${values[mode]}` });
    }
  };
  needs('DAYBOOK_ANCHOR_TIMESTAMP', 'DAYBOOK_TSA_URL', 'DAYBOOK_TSA_CA_FILE');
  needs('DAYBOOK_ANCHOR_WITNESS', 'DAYBOOK_WITNESSES');
  if (values.DAYBOOK_TSA_URL !== undefined && values.DAYBOOK_TSA_CA_FILE === undefined) {
    refinement.addIssue({
      code: 'custom',
      path: ['DAYBOOK_TSA_CA_FILE'],
      message: 'must name a PEM file with the certificates that the timestamp authority is trusted by',
    });
  }
});

/** Names of every environment variable the service reads, in documentation order. */
export const environmentNames = Object.keys(environmentShape) as (keyof typeof environmentShape)[];

/** The validated settings. Paths are absolute; ports are TCP ports. */
export interface Config {
  /** Address the HTTP server listens on. */
  readonly host: string;
  readonly port: number;
  /** Folder of everything this node keeps: the embedded database, keys, credentials. */
  readonly dataDir: string;
  /** Port of the embedded PostgreSQL on 127.0.0.1; unused with `databaseUrl`. */
  readonly postgresPort: number;
  /** An existing PostgreSQL ≥ 15 instead of the embedded one. */
  readonly databaseUrl: string | undefined;
  /** First part of each log's origin, as in `daybook.local/signals`. */
  readonly origin: string;
  /** The first ADMIN key's secret; made on first start when absent. */
  readonly adminKey: string | undefined;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** Connections that serve queries; appends use one more, feeds two more. */
  readonly databasePoolSize: number;
  /** Entries that may wait for their transaction before callers get QUEUE_FULL. */
  readonly appendQueueMax: number;
  /** Number of reverse proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: number;
  readonly rootKey: RootKeyConfig;
  /** Between two looks of the signer at the logs, in milliseconds. */
  readonly checkpointIntervalMs: number;
  readonly store: StoreConfig;
  readonly anchors: AnchorConfig;
  /** What each sample of the integrity monitor adds at the end of both logs, in minutes. */
  readonly integrityRecentMinutes: number;
  /** File with rules of redaction to add to those of every node. */
  readonly redactionRulesFile: string | undefined;
  readonly packs: PackConfig;
  readonly configSnapshots: ConfigSnapshotConfig;
  /** How long after a signal its orders, and events without its id, are looked for, in milliseconds. */
  readonly traceWindowMs: number;
  /** Files by day that the audit log is written to; undefined where they are off. */
  readonly logFiles: LogFileConfig | undefined;
  /** JSON file with further sinks of the audit log. */
  readonly sinksFile: string | undefined;
  readonly retention: RetentionConfig;
  /** How often each secret's current value is tried at its target, in milliseconds. */
  readonly driftCheckMs: number;
  /** Whether this node runs background jobs: sealing, anchoring, integrity checks. */
  readonly runsJobs: boolean;
  /** Every setting by its variable, defaults included: for snapshots of the configuration. Holds secrets. */
  readonly environment: Readonly<Record<string, string>>;
}

/** What wraps the keys that the database keeps: a KMS key where one is named, else 32 bytes of this node's own. */
interface RootKeyConfig {
  /** 32 bytes as hex; kept in the data folder when absent. */
  readonly masterKey: string | undefined;
  readonly kms: KmsConfig | undefined;
  /** Root keys that wrap nothing any more, but open what they wrapped. */
  readonly former: { readonly masterKey: string | undefined; readonly kms: KmsConfig | undefined };
}

/** A key of AWS KMS by id, alias or ARN. */
export interface KmsConfig {
  readonly keyId: string;
  readonly region: string;
  readonly endpoint?: string;
}

/** What snapshots of the configuration cover. */
interface ConfigSnapshotConfig {
  /** Paths and patterns, separated by commas or lines. */
  readonly patterns: string;
  readonly root: string;
  /** Bytes of one file, and of all, up to which texts are stored. */
  readonly fileBytesMax: number;
  readonly totalBytesMax: number;
  readonly diffContextLines: number;
  /** Absolute path of git, `off`, or undefined to look for it. */
  readonly git: string | undefined;
}

/** `best-effort`: retried for ever. `required`: overdue ones are an incident and fail verification. */
type AnchorMode = 'off' | 'best-effort' | 'required';

/** Where logs are published and days' roots are kept: a bucket where one is named, else a folder. */
interface StoreConfig {
  readonly folder: string;
  readonly s3:
    | { readonly bucket: string; readonly prefix?: string; readonly endpoint?: string; readonly region: string }
    | undefined;
  /** Between two publications of a log that grew, in milliseconds. */
  readonly publishIntervalMs: number;
}

/** Daily evidence packs. */
interface PackConfig {
  readonly folder: string;
  /** Days that a pack stays on this node; only one that the store holds is removed. */
  readonly retentionDays: number;
  readonly compression: 'none' | 'gzip';
  /** File with the age public keys that packs are encrypted to. */
  readonly recipientsFile: string | undefined;
  /** Days that a pack is locked in a store that can lock. */
  readonly lockDays: number;
}

interface LogFileConfig {
  readonly folder: string;
  /** Whether finished days are compressed. */
  readonly gzip: boolean;
  /** File with the key that lines are encrypted with. */
  readonly keyFile: string | undefined;
  /** What of a line is encrypted where there is a key. */
  readonly encrypt: 'line' | 'details';
}

/** How long audit entries stay where. */
interface RetentionConfig {
  /** Days in the database; null for ever. */
  readonly onlineDays: number | null;
  /** Calendar years in archives, from recording on. */
  readonly archiveYears: number;
  /** Days that copies of archived entries stay after they were brought back. */
  readonly restoredDays: number;
}

interface AnchorConfig {
  readonly store: AnchorMode;
  /** How long a root is locked in a store that can lock, in days after it was sealed. */
  readonly retentionDays: number;
  readonly timestamp: AnchorMode;
  readonly authority: { readonly url: string; readonly certificatesFile: string } | undefined;
  readonly witness: AnchorMode;
  /** Witnesses as `<verifier key> <url>`, separated by commas or lines. */
  readonly witnesses: string | undefined;
}

/** Reads and checks the environment. Throws CONFIG_INVALID naming each bad variable and what it allows. */
export function readConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const present = Object.fromEntries(
    environmentNames.filter((name) => environment[name]).map((name) => [name, environment[name]]),
  );
  const parsed = environmentSchema.safeParse(present);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${String(issue.path[0])}: ${issue.message}`);
    throw new DaybookError(
      'CONFIG_INVALID',
      `The environment has unusable values (docs/configuration.md lists what is allowed):\n${lines.join('\n')}`,
    );
  }
  return toConfig(parsed.data);
}

function toConfig(values: z.infer<typeof environmentSchema>): Config {
  const dataDir = resolve(values.DAYBOOK_DATA_DIR);
  return {
    host: values.DAYBOOK_HOST,
    port: values.DAYBOOK_PORT,
    dataDir,
    postgresPort: values.DAYBOOK_POSTGRES_PORT,
    databaseUrl: values.DATABASE_URL,
    origin: values.DAYBOOK_ORIGIN,
    adminKey: values.DAYBOOK_ADMIN_KEY,
    logLevel: values.DAYBOOK_LOG_LEVEL,
    databasePoolSize: values.DAYBOOK_DATABASE_POOL,
    appendQueueMax: values.DAYBOOK_APPEND_QUEUE_MAX,
    trustedProxies: values.DAYBOOK_TRUST_PROXY,
    rootKey: toRootKey(values),
    checkpointIntervalMs: values.DAYBOOK_CHECKPOINT_SECONDS * 1_000,
    store: {
      folder: resolve(values.DAYBOOK_STORE_DIR ?? join(dataDir, 'store')),
      s3:
        values.DAYBOOK_S3_BUCKET === undefined
          ? undefined
          : {
              bucket: values.DAYBOOK_S3_BUCKET,
              region: values.DAYBOOK_S3_REGION,
              ...(values.DAYBOOK_S3_PREFIX === undefined ? {} : { prefix: values.DAYBOOK_S3_PREFIX }),
              ...(values.DAYBOOK_S3_ENDPOINT === undefined ? {} : { endpoint: values.DAYBOOK_S3_ENDPOINT }),
            },
      publishIntervalMs: values.DAYBOOK_PUBLISH_SECONDS * 1_000,
    },
    anchors: toAnchors(values),
    integrityRecentMinutes: values.DAYBOOK_INTEGRITY_RECENT_MINUTES,
    redactionRulesFile:
      values.DAYBOOK_REDACTION_RULES_FILE === undefined ? undefined : resolve(values.DAYBOOK_REDACTION_RULES_FILE),
    packs: {
      folder: resolve(values.DAYBOOK_PACK_DIR ?? join(dataDir, 'packs')),
      retentionDays: values.DAYBOOK_PACK_RETENTION_DAYS,
      lockDays: values.DAYBOOK_PACK_LOCK_DAYS,
      compression: values.DAYBOOK_PACK_COMPRESSION,
      recipientsFile:
        values.DAYBOOK_PACK_RECIPIENTS_FILE === undefined ? undefined : resolve(values.DAYBOOK_PACK_RECIPIENTS_FILE),
    },
    configSnapshots: {
      patterns: values.DAYBOOK_CONFIG_FILES ?? '',
      root: resolve(values.DAYBOOK_CONFIG_ROOT ?? '.'),
      fileBytesMax: values.DAYBOOK_CONFIG_FILE_BYTES,
      totalBytesMax: values.DAYBOOK_CONFIG_TOTAL_BYTES,
      diffContextLines: values.DAYBOOK_CONFIG_DIFF_CONTEXT,
      git: values.DAYBOOK_GIT,
    },
    traceWindowMs: values.DAYBOOK_TRACE_WINDOW_MINUTES * 60_000,
    logFiles:
      values.DAYBOOK_LOG_FILES === 'off'
        ? undefined
        : {
            folder: resolve(values.DAYBOOK_LOG_DIR ?? join(dataDir, 'audit')),
            gzip: values.DAYBOOK_LOG_GZIP === 'on',
            keyFile: values.DAYBOOK_LOG_KEY_FILE === undefined ? undefined : resolve(values.DAYBOOK_LOG_KEY_FILE),
            encrypt: values.DAYBOOK_LOG_ENCRYPT,
          },
    sinksFile: values.DAYBOOK_SINKS_FILE === undefined ? undefined : resolve(values.DAYBOOK_SINKS_FILE),
    retention: {
      onlineDays: values.DAYBOOK_AUDIT_ONLINE_DAYS === 'forever' ? null : values.DAYBOOK_AUDIT_ONLINE_DAYS,
      archiveYears: values.DAYBOOK_ARCHIVE_YEARS,
      restoredDays: values.DAYBOOK_RESTORED_DAYS,
    },
    driftCheckMs: values.DAYBOOK_DRIFT_CHECK_HOURS * 3_600_000,
    runsJobs: values.DAYBOOK_JOBS === 'on',
    environment: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)])),
  };
}

function toRootKey(values: z.infer<typeof environmentSchema>): RootKeyConfig {
  return {
    masterKey: values.DAYBOOK_MASTER_KEY?.toLowerCase(),
    kms: toKms(values, values.DAYBOOK_KMS_KEY_ID),
    former: {
      masterKey: values.DAYBOOK_FORMER_MASTER_KEY?.toLowerCase(),
      kms: toKms(values, values.DAYBOOK_FORMER_KMS_KEY_ID),
    },
  };
}

/** A key that is named by its ARN is in the region that this says. */
function toKms(values: z.infer<typeof environmentSchema>, keyId: string | undefined): KmsConfig | undefined {
  if (keyId === undefined) return undefined;
  const ofArn = keyId.startsWith('arn:') ? keyId.split(':')[3] : undefined;
  const region = values.DAYBOOK_KMS_REGION ?? ofArn ?? 'us-east-1';
  const endpoint = values.DAYBOOK_KMS_ENDPOINT;
  return { keyId, region, ...(endpoint === undefined ? {} : { endpoint }) };
}

function toAnchors(values: z.infer<typeof environmentSchema>): AnchorConfig {
  return {
    store: values.DAYBOOK_ANCHOR_STORE,
    retentionDays: values.DAYBOOK_ROOT_RETENTION_DAYS,
    timestamp: values.DAYBOOK_ANCHOR_TIMESTAMP ?? (values.DAYBOOK_TSA_URL === undefined ? 'off' : 'best-effort'),
    authority:
      values.DAYBOOK_TSA_URL === undefined || values.DAYBOOK_TSA_CA_FILE === undefined
        ? undefined
        : { url: values.DAYBOOK_TSA_URL, certificatesFile: resolve(values.DAYBOOK_TSA_CA_FILE) },
    witness: values.DAYBOOK_ANCHOR_WITNESS ?? (values.DAYBOOK_WITNESSES === undefined ? 'off' : 'best-effort'),
    witnesses: values.DAYBOOK_WITNESSES,
  };
}
