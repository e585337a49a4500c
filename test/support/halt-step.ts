import { join } from 'node:path';
import { lockFolder } from '../../src/storage/folder-lock.js';
import { openSession, type SqlSession } from './sql-session.js';
import { waitUntil } from './wait-until.js';

/** What a node does when it is held up: the last step before its effect would be complete. */
export type HaltedStep =
  /** The checkpoint is signed and in the node's file, its row is not stored. */
  | 'signing'
  /** The day's size is signed, the MerkleRootSealed entry is written, the root is not. */
  | 'sealing'
  /** The publisher has its lock and cannot write the first object. */
  | 'publishing'
  /** The root lies in the store, its MerkleRootAnchored entry is written, the anchor's row is pending. */
  | 'anchoring';

export interface HaltPlace {
  /** Of a superuser. */
  readonly databaseUrl: string;
  /** The object store's folder. */
  readonly store: string;
}

/**
 * Holds up the next node that comes to `step`, waits for it while `work` runs, and hands its name (its application_name) to
 * `meet`. The step is free again when this returns.
 */
export async function haltStep(
  place: HaltPlace,
  step: HaltedStep,
  work: () => Promise<unknown>,
  meet: (name: string) => Promise<void>,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const observer = stack.use(await openSession(place.databaseUrl));
  const holder = stack.use(await openSession(place.databaseUrl));
  let folder = foldersHeld.has(step) ? await lockFolder(join(place.store, '.daybook-lock')) : null;
  const freeFolder = () => {
    folder?.[Symbol.dispose]();
    folder = null;
  };
  const table = tables[step];
  if (table !== undefined) await lockTable(holder, table);
  const working = work();
  try {
    if (step === 'anchoring') {
      // Sealing writes into the same table, so it comes first, while the store keeps the anchors waiting.
      await working;
      await lockTable(holder, 'anchors');
      freeFolder();
    }
    await meet(
      await waitUntil(`a node is held up ${step}`, async () => (await observer.value(waiters[step])) as string),
    );
  } finally {
    await holder.run('ROLLBACK');
    freeFolder();
  }
  await working;
}

const foldersHeld: ReadonlySet<HaltedStep> = new Set(['publishing', 'anchoring']);
const tables: Partial<Record<HaltedStep, string>> = { signing: 'checkpoints', sealing: 'merkle_roots' };

/** Nobody can write into it meanwhile, everybody can read it. */
async function lockTable(holder: SqlSession, table: string): Promise<void> {
  await holder.run(`BEGIN; LOCK TABLE public.${table} IN SHARE MODE`);
}

function waitersFor(table: string, statement: string): string {
  return `SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE relation = 'public.${table}'::regclass AND NOT granted AND query LIKE '${statement} %' LIMIT 1`;
}

const waiters: Readonly<Record<HaltedStep, string>> = {
  signing: waitersFor('checkpoints', 'INSERT'),
  sealing: waitersFor('merkle_roots', 'INSERT'),
  anchoring: waitersFor('anchors', 'UPDATE'),
  publishing: `SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE locktype = 'advisory' AND granted
      AND (classid::bigint << 32) | objid::bigint IN (7219460237150047, 7219460237150048) LIMIT 1`,
};
