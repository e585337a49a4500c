import type { SqlSession } from './sql-session.js';

const tables = [
  'signals',
  'audit_entries',
  'ledger_tiles',
  'checkpoints',
  'merkle_roots',
  'anchors',
  'signing_keys',
  'ledger_subxacts',
] as const;

/** What somebody with every right can do: switch all guards off, change rows, and switch them on again. */
export async function tamper(superuser: SqlSession, sql: string): Promise<void> {
  const guards = (state: string) => tables.map((table) => `ALTER TABLE public.${table} ${state} TRIGGER ALL`).join(';');
  await superuser.run(`SET event_triggers = off; BEGIN; ${guards('DISABLE')}; ${sql}; ${guards('ENABLE')}; COMMIT`);
}
