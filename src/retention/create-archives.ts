import { createHash } from 'node:crypto';
import pg from 'pg';
import { encodeArchiveStatement } from '../core/archive-statement.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { tileWidth } from '../core/tile-path.js';
import { ledgerConnection } from '../db/pool.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { encodeArchive, verifyArchive, type ArchiveHeader } from './archive-file.js';
import { readArchiveObject, writeArchiveObject } from './archive-objects.js';
import { readExpectedArchive } from './read-archives.js';
import type { RetentionServices } from './retention-services.js';

/** An archive ends with the tile that brings it to either. */
const entriesMax = 16_384;
const bodyBytesMax = 8 * 2 ** 20;
/** Held by whoever writes archives, for as long: beside daybook.lock_retention(), which the database takes. */
const archiverLock = '7219460237150055';

/** An archive that was made. */
export interface MadeArchive {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly objectKey: string;
  readonly bytes: number;
}

/**
 * Archives what is old enough and not archived yet, oldest first, and returns what was made: nothing where another node is at
 * it, or nothing is old enough. Entries stay in the log. Throws what the store throws.
 *
 * Each archive is 1. written, 2. read back and held to the tree and the chain, 3. signed and recorded with its ArchiveCreated
 * entry. A crash before 3 leaves an object that the next run writes again.
 */
export async function createArchives(
  services: RetentionServices,
  origin: CallOrigin,
  signal: AbortSignal,
  onArchive: (archive: MadeArchive) => void = () => undefined,
): Promise<MadeArchive[]> {
  const { store } = services;
  if (store === null) return [];
  const holder = new pg.Client(ledgerConnection(services.url, 'daybook archive'));
  // What breaks it is reported by the query that finds it broken.
  holder.on('error', () => undefined);
  await holder.connect();
  const made: MadeArchive[] = [];
  try {
    const locked = await holder.query<{ taken: boolean }>(`SELECT pg_try_advisory_lock(${archiverLock}) AS taken`);
    if (locked.rows[0]?.taken !== true) return [];
    for (;;) {
      signal.throwIfAborted();
      const next = await readNextArchive(holder, services.originOf('audit'));
      if (next === null) return made;
      const archive = await makeArchive(services, holder, next, origin);
      made.push(archive);
      onArchive(archive);
    }
  } finally {
    await holder.end();
  }
}

interface NextArchive {
  readonly header: ArchiveHeader;
  readonly bodies: readonly string[];
  readonly chainHash: string;
  readonly firstRecordedAt: string;
  readonly lastRecordedAt: string;
  readonly holdsSignals: boolean;
}

interface NextRow {
  readonly body: string;
  readonly previousHash: string;
  readonly chainHash: string;
  readonly recordedAt: string;
  readonly isOfSignal: boolean;
}

/** Whole tiles from behind the last archive on, of entries that are old enough and covered by a checkpoint. */
async function readNextArchive(client: pg.Client, origin: string): Promise<NextArchive | null> {
  const { first, end } = await readEligible(client);
  const bodies: string[] = [];
  let bytes = 0;
  let holdsSignals = false;
  let firstRow: NextRow | undefined;
  let lastRow: NextRow | undefined;
  while (first + bodies.length + tileWidth <= end && bodies.length < entriesMax && bytes < bodyBytesMax) {
    const from = first + bodies.length;
    const found = await client.query<NextRow>(
      `SELECT body, previous_hash AS "previousHash", chain_hash AS "chainHash", recorded_at AS "recordedAt",
         signal_id IS NOT NULL AS "isOfSignal"
       FROM public.audit_entries WHERE chain_index >= $1 AND chain_index < $2 ORDER BY chain_index`,
      [from, from + tileWidth],
    );
    for (const row of found.rows) {
      bodies.push(row.body);
      bytes += Buffer.byteLength(row.body);
      holdsSignals ||= row.isOfSignal;
      firstRow ??= row;
      lastRow = row;
    }
    // A gap: the check when the archive is read back tells where.
    if (found.rows.length < tileWidth) break;
  }
  if (firstRow === undefined || lastRow === undefined) return null;
  const { previousHash, recordedAt: firstRecordedAt } = firstRow;
  const lastIndex = first + bodies.length - 1;
  return {
    header: { format: 'daybook-archive-v1', origin, firstIndex: first, lastIndex, previousHash },
    bodies,
    chainHash: lastRow.chainHash,
    firstRecordedAt,
    lastRecordedAt: lastRow.recordedAt,
    holdsSignals,
  };
}

/** `end` is the index behind the last entry that may be archived now. */
async function readEligible(database: Queryable): Promise<{ readonly first: number; readonly end: number }> {
  const found = await database.query<{ first: string; end: string }>(
    `WITH old AS (SELECT clock_timestamp() - online AS before FROM public.retention_policies WHERE log = 'audit')
     SELECT coalesce((SELECT max(last_index) + 1 FROM public.log_archives), 0) AS first,
       least(
         coalesce((SELECT chain_index + 1 FROM public.audit_entries
                   WHERE recorded_at < (SELECT before FROM old) ORDER BY recorded_at DESC, chain_index DESC LIMIT 1), 0),
         coalesce((SELECT max(tree_size) FROM public.checkpoints WHERE log = 'audit'), 0),
         coalesce((SELECT (max(tile) + 1) * ${tileWidth} FROM public.ledger_tiles WHERE log = 'audit' AND level = 0), 0)
       ) AS end`,
  );
  const [row] = found.rows;
  return { first: Number(row?.first ?? 0), end: Number(row?.end ?? 0) };
}

async function makeArchive(
  services: RetentionServices,
  client: pg.Client,
  next: NextArchive,
  origin: CallOrigin,
): Promise<MadeArchive> {
  const { header, bodies, chainHash } = next;
  const bytes = encodeArchive({ header, bodies });
  const objectHash = createHash('sha256').update(bytes).digest('hex');
  const { firstIndex, lastIndex, previousHash } = header;
  const written = await writeArchiveObject(services, client, { header, bytes, hash: objectHash });
  const expected = await readExpectedArchive(client, {
    firstIndex: String(firstIndex),
    lastIndex: String(lastIndex),
    previousHash,
    chainHash,
    objectHash,
  });
  verifyArchive(await readArchiveObject(services, written), expected, written.objectKey);
  const note = services.signNote(
    encodeArchiveStatement({
      ...next,
      ...expected,
      ...written,
      origin: header.origin,
      firstIndex: String(firstIndex),
      lastIndex: String(lastIndex),
      bytes: String(bytes.length),
    }),
  );
  const entry = serviceEntry({
    ...origin,
    category: 'BACKUP',
    event: 'ArchiveCreated',
    action: 'CREATE',
    resource: `archive/${firstIndex}-${lastIndex}`,
    details: encodeCanonicalJson({
      bytes: String(bytes.length),
      chainHash,
      entries: String(bodies.length),
      objectKey: written.objectKey,
      previousHash,
      sha256: objectHash,
      versionId: written.versionId ?? undefined,
    }),
  });
  await services.append({
    entries: [entry],
    alongside: async (tx) => {
      await tx.query(
        `INSERT INTO public.log_archives (last_index, object_key, bytes, object_hash, version_id, created_by, note)
         VALUES ($1, $2, $3, decode($4, 'hex'), $5, $6, $7)`,
        [lastIndex, written.objectKey, bytes.length, objectHash, written.versionId, origin.actor ?? 'unknown', note],
      );
    },
  });
  services.log.info({ firstIndex, lastIndex, objectKey: written.objectKey }, 'audit entries were archived');
  return { firstIndex, lastIndex, objectKey: written.objectKey, bytes: bytes.length };
}
