import { hostname } from 'node:os';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { lexicographicSortSchema, printSchema, type GraphQLSchema } from 'graphql';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Redactor } from './access/redact.js';
import type { Append } from './access/request-calls.js';
import type { Config } from './config.js';
import { ConfigSnapshotService } from './config-snapshots/config-snapshot-service.js';
import type { ConfigSnapshotRow } from './config-snapshots/read-snapshots.js';
import { DaybookError } from './errors.js';
import { readGenerator } from './generator.js';
import type { CallOrigin } from './ledger/new-entries.js';

export interface ConfigSnapshotNodeParts {
  readonly config: Config;
  readonly pool: pg.Pool;
  readonly redactor: Redactor;
  readonly schema: GraphQLSchema;
}

/** What takes snapshots of this node's configuration. */
export function openConfigSnapshots({
  config,
  pool,
  redactor,
  schema,
}: ConfigSnapshotNodeParts): ConfigSnapshotService {
  const { patterns, root, fileBytesMax, totalBytesMax, diffContextLines, git } = config.configSnapshots;
  const { name, version, git_commit: commit } = readGenerator();
  return new ConfigSnapshotService({
    database: pool,
    redactor,
    node: `${hostname()}:${config.dataDir}`,
    diff: { contextLines: diffContextLines, git },
    sources: {
      ...{ root, patterns, fileBytesMax, totalBytesMax },
      dataDir: config.dataDir,
      environment: config.environment,
      program: { git_commit: commit ?? 'unknown', name, node: process.version, version },
      // The text of schema.graphql.
      schemaText: `${printSchema(lexicographicSortSchema(schema))}\n`,
      lockFile: findLockFile(),
    },
  });
}

/** What takes snapshots of a node that starts, after its first one. Throws as recordStart. */
export async function openRecordedConfig(
  parts: ConfigSnapshotNodeParts & { readonly append: Append; readonly log: Logger },
): Promise<ConfigSnapshotService> {
  const service = openConfigSnapshots(parts);
  await recordStart(service, parts);
  return service;
}

/**
 * What each start records. Throws what the append throws, but for QUEUE_FULL: where more changed than DAYBOOK_APPEND_QUEUE_MAX lets
 * into one transaction the start goes on without a snapshot, and the log says so.
 */
async function recordStart(
  service: ConfigSnapshotService,
  { append, log }: { readonly append: Append; readonly log: Logger },
): Promise<void> {
  const origin: CallOrigin = {
    actor: 'daybook',
    role: null,
    ipAddress: null,
    userAgent: null,
    sessionId: 'start',
    requestId: randomUUID(),
  };
  let snapshot: ConfigSnapshotRow;
  try {
    snapshot = await service.take({ occasion: 'START', reason: 'start', origin, append });
  } catch (error) {
    if (!(error instanceof DaybookError && error.code === 'QUEUE_FULL')) throw error;
    log.error({ err: error }, 'the configuration was not recorded: more changed than DAYBOOK_APPEND_QUEUE_MAX takes');
    return;
  }
  const unread = (await service.filesOf(snapshot)).filter(({ state }) => unreadStates.has(state));
  const files = unread.map(({ path, state, note }) => ({ path, state, note }));
  if (snapshot.changes > 0)
    log.info({ changes: snapshot.changes }, 'the configuration changed since the last snapshot');
  if (files.length > 0) log.warn({ files }, 'configuration files that are named could not be read');
}

const unreadStates: ReadonlySet<string> = new Set(['MISSING', 'UNREADABLE', 'REFUSED']);

/** The lock file beside the package.json of the program; up from `src/` in a checkout, from `dist/src/` when built. */
function findLockFile(): string | null {
  const roots = [join(import.meta.dirname, '..'), join(import.meta.dirname, '..', '..')];
  const root = roots.find((folder) => existsSync(join(folder, 'package.json')));
  return root === undefined ? null : join(root, 'package-lock.json');
}
