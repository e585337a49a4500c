import { hash } from 'node:crypto';
import type pg from 'pg';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { MIGRATIONS_TABLE } from '../db/orm.js';
import { catalogQueries, type CatalogSection } from './catalog-queries.js';

/** What one object's catalogue row says, by name of the fact; a fact without a value is left out. */
type ObjectFacts = Readonly<Record<string, string>>;

/** Objects of one kind by full name, such as `public.signals.append_signal_trigger`. */
export type SectionFacts = Readonly<Record<string, ObjectFacts>>;

/** What the catalogue says about everything the ledger's guarantees rest on. Every value is text. */
export type CatalogFacts = Readonly<Record<CatalogSection, SectionFacts>> & {
  /** Names of the migrations that were executed, in their order. */
  readonly migrations: readonly string[];
};

/** Facts with their RFC 8785 text and its SHA-256 as lower-case hex. */
export interface EncodedFacts {
  readonly facts: CatalogFacts;
  readonly text: string;
  readonly hash: string;
}

/** Reads the facts in the snapshot that `client` is in (ledger/verify-snapshot.ts). Any role may: the catalogue is open to all. */
export async function readCatalogFacts(client: pg.ClientBase): Promise<EncodedFacts> {
  const sections: Partial<Record<CatalogSection, SectionFacts>> = {};
  for (const [section, query] of Object.entries(catalogQueries)) {
    const { rows } = await client.query<Record<string, string | null>>(query);
    sections[section as CatalogSection] = Object.fromEntries(
      rows.map(({ key = null, ...facts }) => [key ?? '', withoutNulls(facts)] as const),
    );
  }
  const facts = { ...sections, migrations: await readMigrations(client) } as CatalogFacts;
  return encodeFacts(facts);
}

function encodeFacts(facts: CatalogFacts): EncodedFacts {
  const text = encodeCanonicalJson(facts);
  return { facts, text, hash: hash('sha256', text, 'hex') };
}

/** Names of the migrations that were executed, in their order; none where there is no ledger yet. */
export async function readMigrations(client: pg.ClientBase): Promise<string[]> {
  const table = await client.query(`SELECT WHERE to_regclass('public.${MIGRATIONS_TABLE}') IS NOT NULL`);
  if (table.rowCount === 0) return [];
  const { rows } = await client.query<{ name: string }>(
    `SELECT name::text AS name FROM public.${MIGRATIONS_TABLE} ORDER BY id`,
  );
  return rows.map(({ name }) => name);
}

function withoutNulls(facts: Readonly<Record<string, string | null>>): ObjectFacts {
  return Object.fromEntries(Object.entries(facts).filter((entry): entry is [string, string] => entry[1] !== null));
}
