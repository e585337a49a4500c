import pg from 'pg';
import type { Append } from './access/request-calls.js';
import type { Config } from './config.js';
import type { LoginSource } from './db/login.js';
import { ledgerConnection } from './db/pool.js';
import type { RoleUrls } from './db/roles.js';
import { BreakList } from './core/log-breaks.js';
import { encodeNote } from './core/signed-note.js';
import { DaybookError } from './errors.js';
import { takeBaseline, verifyCatalog } from './integrity/baseline.js';
import type { CallOrigin } from './ledger/new-entries.js';
import { withSnapshot } from './ledger/verify-snapshot.js';
import type { RetentionServices } from './retention/retention-services.js';
import type { ProofNode } from './open-proofs.js';

export interface RetentionParts extends Pick<RetentionServices, 'append' | 'clock' | 'log'> {
  readonly config: Config;
  readonly pool: pg.Pool;
  readonly urls: { readonly application: LoginSource };
  readonly proofs: { readonly services: Pick<ProofNode['services'], 'keys'>; readonly store: ProofNode['store'] };
}

/** What archives and removes old audit entries on this node. */
export function openRetention(parts: RetentionParts): RetentionServices {
  const { config, pool, urls, append, proofs, clock, log } = parts;
  return {
    database: pool,
    url: urls.application,
    append,
    store: proofs.store,
    originOf: (name) => proofs.services.keys.originOf(name),
    signNote: (text) => encodeNote({ text, signatures: proofs.services.keys.sign('audit', text) }),
    restoredDays: config.retention.restoredDays,
    clock,
    log,
  };
}

/**
 * Makes the configured times those that the database holds removals to, as the migrator: what is kept cannot be shortened by
 * the service's own login. A change leaves a RetentionPolicyChanged entry.
 */
export async function applyRetention(urls: Pick<RoleUrls, 'migrator'>, { retention }: Config): Promise<boolean> {
  const client = new pg.Client(ledgerConnection(urls.migrator, 'daybook retention'));
  // What breaks it is reported by the query that finds it broken.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const changed = await client.query<{ changed: boolean }>(
      `SELECT daybook.set_retention($1 * interval '1 day', make_interval(years => $2)) AS changed`,
      [retention.onlineDays, retention.archiveYears],
    );
    return changed.rows[0]?.changed === true;
  } finally {
    await client.end();
  }
}

/** How long `compactAuditLog` waits for the log to be free, in milliseconds: appends wait behind it. */
const compactLockMs = 10_000;

/**
 * Writes the audit log's table and indexes anew without the space of removed entries, as their owner. Nothing can be recorded
 * while it runs. PostgreSQL rewrites the table's row in the catalogue with it, so the catalogue is compared with its baseline
 * before and gets a new one, on the record, afterwards. Sizes are in bytes. Throws INTEGRITY_FAILED where the catalogue is not
 * what the baseline says, and what the database reports, where the log is in use too.
 */
export async function compactAuditLog(parts: {
  readonly urls: Pick<RoleUrls, 'migrator' | 'auditor'>;
  readonly append: Append;
  readonly origin: CallOrigin;
}): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }> {
  const { urls, append, origin } = parts;
  await assertCatalogue(urls.auditor);
  const client = new pg.Client(ledgerConnection(urls.migrator, 'daybook compact'));
  // What breaks it is reported by the query that finds it broken.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(`SET lock_timeout = ${compactLockMs}`);
    const owner = await client.query(
      `SELECT FROM pg_roles WHERE rolname = 'daybook_owner' AND pg_has_role(session_user, oid, 'MEMBER')`,
    );
    if (owner.rowCount === 1) await client.query('SET ROLE daybook_owner');
    const bytesBefore = await readLogBytes(client);
    await client.query('VACUUM (FULL, ANALYZE) public.audit_entries');
    const bytesAfter = await readLogBytes(client);
    await takeBaseline({ append, readerUrl: urls.auditor, origin, reason: 'the audit log was compacted' });
    return { bytesBefore, bytesAfter };
  } finally {
    await client.end();
  }
}

async function assertCatalogue(readerUrl: string): Promise<void> {
  const breaks = new BreakList();
  await withSnapshot({ url: readerUrl }, (client) => verifyCatalog(client, breaks));
  const [first] = breaks.first;
  if (first === undefined) return;
  throw new DaybookError(
    'INTEGRITY_FAILED',
    `the catalogue is not what its baseline says, and compacting would hide that: ${first.code}: ${first.message}`,
  );
}

async function readLogBytes(client: pg.Client): Promise<number> {
  const found = await client.query<{ bytes: string }>("SELECT pg_total_relation_size('public.audit_entries') AS bytes");
  return Number(found.rows[0]?.bytes ?? 0);
}
