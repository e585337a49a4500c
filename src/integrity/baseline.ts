import { hash, randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Append } from '../access/request-calls.js';
import { BreakList } from '../core/log-breaks.js';
import { DaybookError } from '../errors.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import { readCatalogFacts, type CatalogFacts, type EncodedFacts } from './catalog-facts.js';
import { compareFacts } from './compare-facts.js';
import { authorOf, integrityEntry, serviceOrigin } from './integrity-entry.js';
import { withSnapshot } from '../ledger/verify-snapshot.js';
import { readRestoredEntries } from './verify-records.js';

/** Changes since the baseline before that the entry of a new one repeats. */
const changesNamedMax = 20;
const reasonLengthMax = 1_000;
/** The entry after which no start takes a baseline by itself, until somebody declares the catalogue right. */
export const baselineWithheld = 'IntegrityBaselineWithheld';

/** A baseline as stored: `factsText` is what was hashed, `factsHash` lower-case hex. */
interface Baseline {
  readonly number: string;
  readonly factsText: string;
  readonly factsHash: string;
}

export interface TakeBaselineOptions {
  readonly append: Append;
  /** The auditor's URL, or any role's: the facts are read through it, nothing is written. */
  readonly readerUrl: string;
  readonly origin: CallOrigin;
  /** Why what the catalogue says now is right, 1 to 1,000 characters. */
  readonly reason: string;
}

/**
 * Declares what the catalogue says now to be right. The baseline and its `IntegrityBaselineSet` entry commit together; the
 * entry names the facts' hash and what changed since the baseline before. Throws BAD_USER_INPUT for an unusable reason.
 */
export async function takeBaseline(options: TakeBaselineOptions): Promise<EncodedFacts> {
  const reason = options.reason.trim();
  if (reason.length < 1 || reason.length > reasonLengthMax || reason.includes('\0') || !reason.isWellFormed()) {
    throw new DaybookError('BAD_USER_INPUT', `the reason must have 1 to ${reasonLengthMax} characters`);
  }
  const { facts, changes, previous } = await withSnapshot({ url: options.readerUrl }, async (client) => {
    const newest = await readNewestBaseline(client);
    const now = await readCatalogFacts(client);
    const changed = new BreakList();
    if (newest !== null) compareFacts(parseFacts(newest.factsText) ?? emptyFacts, now.facts, changed);
    return { facts: now, changes: changed, previous: newest };
  });
  const entry = integrityEntry(options.origin, {
    event: 'IntegrityBaselineSet',
    action: 'CREATE',
    resource: `integrity-baseline/${facts.hash}`,
    details: {
      changes: changes.first.slice(0, changesNamedMax).map(({ code, message }) => ({ code, message })),
      changesInAll: String(changes.count),
      factsHash: facts.hash,
      previousFactsHash: previous?.factsHash,
      reason,
    },
  });
  await options.append({
    entries: [entry],
    alongside: async (client) => {
      await client.query(
        `INSERT INTO public.integrity_baselines (taken_by, reason, facts, facts_hash)
         VALUES ($1, $2, $3, decode($4, 'hex'))`,
        [authorOf(options.origin), reason, facts.text, facts.hash],
      );
    },
  });
  return facts;
}

export interface EnsureBaselineOptions {
  readonly append: Append;
  readonly readerUrl: string;
  /** Names of all migrations of this version. */
  readonly knownMigrations: readonly string[];
  /** Those that this start has executed. */
  readonly executedMigrations: readonly string[];
}

/**
 * Takes a baseline on the first start, and on the record when migrations were executed since the last one, by this start
 * or by one that ended before it could. Otherwise it takes none: a start must not declare tampering to be right. Nor does it
 * where the catalogue differed before a migration, or a baseline that was taken is gone. To be called after the migrations
 * and the refusal layers, with compareBeforeMigrating before them. Returns the reason, or null where none was taken.
 */
export async function ensureBaseline(options: EnsureBaselineOptions): Promise<string | null> {
  const reason = await withSnapshot({ url: options.readerUrl }, async (client) => {
    const newest = await readNewestBaseline(client);
    if (newest === null) return (await isBaselineDue(client)) ? 'first start' : null;
    if (await isWithheld(client)) return null;
    const covered = parseFacts(newest.factsText)?.migrations ?? [];
    const { facts } = await readCatalogFacts(client);
    // Only names of this version: a row that somebody wrote into the list of migrations explains nothing.
    const since = facts.migrations.filter((name) => !covered.includes(name) && options.knownMigrations.includes(name));
    const executed = [...new Set([...options.executedMigrations, ...since])];
    if (executed.length === 0) return null;
    return `${executed.length === 1 ? 'migration' : 'migrations'} ${executed.join(', ')} executed`;
  });
  if (reason === null) return null;
  const origin = serviceOrigin('start', randomUUID());
  await takeBaseline({ append: options.append, readerUrl: options.readerUrl, origin, reason });
  return reason;
}

/** True where none was ever taken: nothing is stored, and no entry tells of one, but for those that a restore brought back. */
export async function isBaselineDue(client: pg.ClientBase): Promise<boolean> {
  const taken = await client.query(
    `SELECT FROM public.audit_entries WHERE event IN ('IntegrityBaselineSet', 'IntegrityBaselineKept') AND chain_index >= $1 LIMIT 1`,
    [await readRestoredEntries(client)],
  );
  return taken.rowCount === 0 && (await readNewestBaseline(client)) === null;
}

/** True where the catalogue differed before a migration, and nobody has declared it right since. */
async function isWithheld(client: pg.ClientBase): Promise<boolean> {
  const last = await client.query<{ event: string }>(
    `SELECT event FROM public.audit_entries WHERE event IN ('IntegrityBaselineSet', '${baselineWithheld}')
     ORDER BY chain_index DESC LIMIT 1`,
  );
  return last.rows[0]?.event === baselineWithheld;
}

/** The baseline that counts; null when none was ever taken. */
async function readNewestBaseline(client: pg.ClientBase): Promise<Baseline | null> {
  const found = await client.query<Baseline>(
    `SELECT number::text AS number, facts::text AS "factsText", encode(facts_hash, 'hex') AS "factsHash"
     FROM public.integrity_baselines ORDER BY number DESC LIMIT 1`,
  );
  return found.rows[0] ?? null;
}

/**
 * Compares the catalogue with the newest baseline, and that baseline with its own hash and with the newest
 * `IntegrityBaselineSet` entry, or `IntegrityBaselineKept` where that one was archived, in the snapshot that `client` is in. With `sinceBaseline`, kinds of objects that the version
 * which took the baseline did not read are left out: the next one covers them.
 */
export async function verifyCatalog(
  client: pg.ClientBase,
  breaks: BreakList,
  options: { readonly sinceBaseline?: boolean } = {},
): Promise<void> {
  const baseline = await readNewestBaseline(client);
  if (baseline === null) {
    breaks.add('BASELINE_MISSING', null, 'run daybook check-integrity init, once what the catalogue says was reviewed');
    return;
  }
  const named = await client.query<{ index: string; hash: string | null }>(
    `SELECT chain_index::text AS index, details ->> 'factsHash' AS hash FROM public.audit_entries
     WHERE event IN ('IntegrityBaselineSet', 'IntegrityBaselineKept') ORDER BY chain_index DESC LIMIT 1`,
  );
  const actual = hash('sha256', baseline.factsText, 'hex');
  if (actual !== baseline.factsHash) {
    const message = `baseline ${baseline.number}: its facts give the hash ${actual}, stored is ${baseline.factsHash}`;
    breaks.add('BASELINE_MISMATCH', null, message);
  }
  const entry = named.rows[0];
  if (entry?.hash !== baseline.factsHash) {
    const says = entry === undefined ? 'no entry names one' : `entry ${entry.index} names ${entry.hash ?? 'none'}`;
    breaks.add('BASELINE_MISMATCH', null, `baseline ${baseline.number} has the hash ${baseline.factsHash}, ${says}`);
  }
  const facts = parseFacts(baseline.factsText);
  if (facts === null) {
    breaks.add('BASELINE_MISMATCH', null, `the facts of baseline ${baseline.number} are not an object`);
    return;
  }
  const now = (await readCatalogFacts(client)).facts;
  const isCompared = ([section]: readonly [string, unknown]) => options.sinceBaseline !== true || section in facts;
  compareFacts(facts, Object.fromEntries(Object.entries(now).filter(isCompared)) as unknown as CatalogFacts, breaks);
}

const emptyFacts = { migrations: [] } as unknown as CatalogFacts;

/** Null where the text, which the json column made sure is JSON, is no object. */
function parseFacts(text: string): CatalogFacts | null {
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as CatalogFacts) : null;
}
