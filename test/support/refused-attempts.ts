import { expect } from '@jest/globals';
import type { SqlSession } from './sql-session.js';

/** What a ModificationRefused entry says, as the tests compare it. */
export interface RefusedModification {
  readonly index: number;
  readonly action: string | null;
  readonly actor: string;
  readonly resource: string;
  readonly signalId: string | null;
  readonly details: { readonly operation: string; readonly recorded: boolean; readonly statement?: string };
  readonly oldData: Record<string, unknown> | null;
  readonly newData: Record<string, unknown> | null;
}

/** Moves waiting attempts into the audit log and returns the entries that this added. */
export async function reconcile(service: SqlSession): Promise<RefusedModification[]> {
  const before = await service.value('SELECT coalesce(max(chain_index), -1) FROM public.audit_entries');
  await service.run(`SET daybook.canonical = 'on'; SELECT daybook.reconcile_attempts()`);
  const rows = await service.run(
    `SELECT chain_index::int AS index, action, actor, resource, signal_id AS "signalId", details, old_data AS "oldData",
       new_data AS "newData"
     FROM public.audit_entries WHERE event = 'ModificationRefused' AND chain_index > $1 ORDER BY chain_index`,
    [before],
  );
  return rows as unknown as RefusedModification[];
}

/** The statement ends in the ledger's refusal and leaves exactly one entry, which is returned. */
export async function expectRefusedOnce(
  session: SqlSession,
  service: SqlSession,
  sql: string,
): Promise<RefusedModification> {
  const error = await session.failure(sql);
  expect({ code: error.code, message: error.message }).toEqual({
    code: 'DB001',
    message: expect.stringContaining('immutable') as unknown,
  });
  await session.run('ROLLBACK');
  const [entry, ...others] = await reconcile(service);
  expect(others).toEqual([]);
  if (entry === undefined) throw new Error(`this left no entry: ${sql}`);
  return entry;
}

/** As though the first number without a record had been seen `seconds` ago. `superuser`: a session of one. */
export async function ageGap(superuser: SqlSession, seconds: number): Promise<void> {
  await superuser.run(
    `UPDATE public.modification_watch SET gap_first_seen_at = gap_first_seen_at - make_interval(secs => $1)`,
    [seconds],
  );
}
