import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { PackEncoding } from '../core/pack-encoding.js';
import type { PackManifest } from '../core/pack-manifest.js';
import { normalizeTimestamp } from '../core/timestamp.js';
import { ledgerConnection } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import { beginSnapshot, endSnapshot } from '../ledger/verify-snapshot.js';
import { buildPack, type BuiltPack } from './build-pack.js';
import { assertDate, dayAfter, forEachLog, readRangeStart, type PackRange, type PackRanges } from './pack-range.js';
import type { PackAnchor, PackServices } from './pack-services.js';
import { readDayPack, readLastDayPack, readPack, type PackRow } from './read-packs.js';

/** Held by whoever makes packs, so that one node at a time does. Nothing else on the database may use this number. */
const packLock = '7219460237150053';
const unfinishedPrefix = 'building-';

export interface CreatePackRequest {
  readonly date: string;
  /** PARTIAL: what is there of a day that has not ended. */
  readonly kind: PackManifest['kind'];
  /** Instead of the node's. */
  readonly encoding?: PackEncoding;
  readonly origin: CallOrigin;
  readonly signal: AbortSignal;
  readonly onProgress?: (date: string, written: number, total: number) => void;
}

/**
 * Makes the evidence pack of a day, and before it those of earlier days that have none, so that each names the one before
 * it. A pack that is there is returned as it is. Throws BAD_USER_INPUT, DAY_NOT_OVER, LEDGER_BROKEN, SIGNING_UNAVAILABLE
 * and whatever the writer throws.
 *
 * 1. The days are sealed, 2. a folder with a name of its own is filled from one snapshot, 3. it gets its name, 4. the row
 * and its ExportPackCreated entry commit. A crash before 4 leaves a folder that nobody refers to; the next run replaces it.
 */
export async function createPack(services: PackServices, request: CreatePackRequest): Promise<PackRow> {
  assertDate('date', request.date);
  await using stack = new AsyncDisposableStack();
  // The application's, as with every lock of the service: of another role's, daybook.foreign_lock_holders() tells.
  await waitForLock(await connect(services.database.options, stack), request.signal);
  const reader = await connect(ledgerConnection(services.readerUrl, 'daybook pack'), stack);
  await removeUnfinished(services.folder);
  if (request.kind === 'PARTIAL') return await makePack(services, request, request.date, reader);
  for (const date of await missingDays(services, request.date)) {
    request.signal.throwIfAborted();
    await makePack(services, request, date, reader);
  }
  const pack = await readDayPack(services.database, request.date);
  if (pack === null) {
    throw new DaybookError('BAD_USER_INPUT', `${request.date} lies before the first day of this ledger`);
  }
  return pack;
}

async function connect(settings: pg.ClientConfig, stack: AsyncDisposableStack): Promise<pg.Client> {
  // Somebody else may be at it for long.
  const client = new pg.Client({ ...settings, application_name: 'daybook pack', statement_timeout: 0 });
  client.on('error', () => undefined);
  await client.connect();
  stack.defer(() => client.end());
  return client;
}

/** Days from the last pack, or the first root, up to `date`. */
async function missingDays({ database, sources }: PackServices, date: string): Promise<string[]> {
  if ((await readDayPack(database, date)) !== null) return [];
  for (const log of ['signals', 'audit'] as const) await sources.sealUntil(log, date);
  const last = await readLastDayPack(database);
  const first = last === null ? await sources.readFirstRootDate() : dayAfter(last.date);
  const days: string[] = [];
  for (let day = first; day !== null && day <= date; day = dayAfter(day)) days.push(day);
  return days;
}

async function waitForLock(holder: pg.Client, signal: AbortSignal): Promise<void> {
  const stop = () => void holder.end();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await holder.query(`SELECT pg_advisory_lock(${packLock})`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
  signal.throwIfAborted();
}

async function makePack(
  services: PackServices,
  request: CreatePackRequest,
  date: string,
  client: pg.Client,
): Promise<PackRow> {
  const id = randomUUID();
  const ranges = await readRanges(services, request.kind, date);
  const config = await services.sources.snapshotConfig(`evidence pack of ${date}`);
  const building = join(services.folder, `${unfinishedPrefix}${id}`);
  const anchors = request.kind === 'DAY' ? await services.sources.readAnchors(date) : [];
  await mkdir(services.folder, { recursive: true, mode: 0o700 });
  try {
    const built = await inSnapshot(client, async () =>
      buildPack({
        folder: building,
        client,
        thread: { url: services.readerUrl, entry: services.workerEntry },
        kind: request.kind,
        date,
        ranges,
        anchors: anchors.map(withoutEvidence),
        anchorEvidence: anchors,
        configSnapshot: config.snapshot,
        configDiff: config.diff,
        encoding: request.encoding ?? services.encoding,
        generator: services.generator,
        previousManifest: await readPrevious(services, date),
        sign: services.sources.sign,
        signal: request.signal,
        ...(await readFacts(services, client, request.kind, date)),
        onProgress: (written, total) => request.onProgress?.(date, written, total),
      }),
    );
    const name = packFolderName({ id, date, kind: request.kind });
    await rm(join(services.folder, name), { recursive: true, force: true });
    await rename(building, join(services.folder, name));
    await record(services, request, { id, date, built });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  const row = await readPack(services.database, id);
  if (row === null) throw new DaybookError('INTERNAL', `the pack ${id} was recorded and is not there`);
  services.log.info({ date, kind: request.kind, manifest: row.manifestSha256 }, 'an evidence pack was made');
  return row;
}

/** What a crash left. Under the lock nobody builds; nodes that share the folder share the lock. */
async function removeUnfinished(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  for (const name of names.filter((each) => each.startsWith(unfinishedPrefix))) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** The folder of a pack below that of all packs. */
export function packFolderName({ id, date, kind }: Pick<PackRow, 'id' | 'date' | 'kind'>): string {
  return kind === 'DAY' ? date : `${date}-partial-${id}`;
}

function withoutEvidence({ log, kind, target, mode, status, reference }: PackAnchor): PackManifest['anchors'][number] {
  return { log, kind, target, mode, status, reference };
}

async function readRanges(services: PackServices, kind: PackManifest['kind'], date: string): Promise<PackRanges> {
  const { sources, database } = services;
  if (kind === 'PARTIAL') {
    for (const log of ['signals', 'audit'] as const) await sources.sealUntil(log, dayAfter(date, -1));
  }
  return forEachLog(async (log): Promise<PackRange> => {
    const before = await sources.readRoot(log, dayAfter(date, -1));
    const head = kind === 'DAY' ? await sources.readRoot(log, date) : await sources.signHead(log);
    if (head === null) throw new DaybookError('BAD_USER_INPUT', `the ${log} log has no root of ${date}`);
    const start = await readRangeStart(database, log, before?.treeSize ?? 0);
    return { origin: sources.originOf(log), before, head, ...start };
  });
}

async function readPrevious(services: PackServices, date: string): Promise<PackManifest['previous_manifest']> {
  const previous = await readDayPack(services.database, dayAfter(date, -1));
  return previous === null ? null : { export_date: previous.date, sha256: previous.manifestSha256 };
}

/** What the database says about itself and the time, in the snapshot. */
async function readFacts(services: PackServices, client: pg.Client, kind: PackManifest['kind'], date: string) {
  const before = services.clock.nowMs();
  const found = await client.query<{ now: string; nowMs: number; system: string; lsn: string }>(
    `SELECT clock_timestamp() AS now, extract(epoch FROM clock_timestamp()) * 1000 AS "nowMs",
       (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system, pg_catalog.pg_current_wal_lsn() AS lsn`,
  );
  const [row] = found.rows;
  if (row === undefined) throw new DaybookError('DATABASE_UNAVAILABLE', 'the database told nothing about itself');
  const createdAt = timeOf(row.now);
  const to = kind === 'DAY' ? `${dayAfter(date)}T00:00:00.000000Z` : createdAt;
  return {
    createdAt,
    period: { from: `${date}T00:00:00.000000Z`, to },
    database: { system_identifier: row.system, lsn: row.lsn, snapshot_at: createdAt },
    clock: { source: 'PostgreSQL clock_timestamp()', service_offset_ms: Math.round(before - Number(row.nowMs)) },
  };
}

function timeOf(text: string): string {
  const time = normalizeTimestamp(text);
  if (time === null) throw new DaybookError('INTERNAL', `the database's time ${text} cannot be read`);
  return time;
}

async function inSnapshot(client: pg.Client, work: () => Promise<BuiltPack>): Promise<BuiltPack> {
  await beginSnapshot(client);
  try {
    return await work();
  } finally {
    await endSnapshot(client);
  }
}

async function record(
  services: PackServices,
  request: CreatePackRequest,
  pack: { readonly id: string; readonly date: string; readonly built: BuiltPack },
): Promise<void> {
  const { manifest, manifestSha256 } = pack.built;
  const { encoding, summary, logs } = manifest;
  const entry = serviceEntry({
    ...request.origin,
    category: 'BACKUP',
    event: 'ExportPackCreated',
    action: 'CREATE',
    resource: `export-pack/${pack.date}`,
    details: encodeCanonicalJson({
      auditEntries: String(logs.audit.count),
      bytes: String(summary.total_size),
      compression: encoding.compression,
      date: pack.date,
      files: summary.total_files,
      id: pack.id,
      kind: request.kind,
      manifestSha256,
      recipients: encoding.recipients,
      signals: String(logs.signals.count),
      storedBytes: String(summary.stored_size),
    }),
  });
  await services.append({
    entries: [entry],
    alongside: async (client) => {
      await client.query(
        `INSERT INTO public.export_packs
           (id, date, kind, created_at, created_by, manifest_hash, files, bytes, signals, audit_entries)
         VALUES ($1, $2, $3, $4, $5, decode($6, 'hex'), $7, $8, $9, $10)`,
        [
          pack.id,
          pack.date,
          request.kind,
          manifest.created_at,
          request.origin.actor ?? 'unknown',
          manifestSha256,
          summary.total_files,
          summary.total_size,
          logs.signals.count,
          logs.audit.count,
        ],
      );
    },
  });
}
