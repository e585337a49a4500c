import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { createArchives, type MadeArchive } from '../../src/retention/create-archives.js';
import { purgeArchived, type Purged } from '../../src/retention/purge-archived.js';
import { insertEntriesSql, openSession } from './sql-session.js';
import type { TestService } from './test-service.js';
import { waitUntil } from './wait-until.js';

/** Entries are old enough to be removed after 0.864 seconds, and nothing is done by itself. */
export const shortRetention = {
  DAYBOOK_AUDIT_ONLINE_DAYS: '0.00001',
  DAYBOOK_CHECKPOINT_SECONDS: '0.05',
  DAYBOOK_PUBLISH_SECONDS: '0.05',
  DAYBOOK_JOBS: 'off',
};
const never = new AbortController().signal;

export const retentionOrigin = () => serviceOrigin('retention', 'a-request');
export const archiveOld = (service: TestService): Promise<MadeArchive[]> =>
  createArchives(service.context.services.retention, retentionOrigin(), never);
export const purgeOld = (service: TestService): Promise<Purged> =>
  purgeArchived(service.context.services.retention, retentionOrigin(), never);

/** Adds entries and waits until they are old enough, covered by tiles, and delivered to all sinks. */
export async function fillLog(service: TestService, count: number, note = 'x'.repeat(200)): Promise<void> {
  await using session = await openSession(service.database.urls.application);
  await session.run(insertEntriesSql(count, note));
  const head = Number(await session.value('SELECT max(chain_index) + 1 FROM public.audit_entries'));
  await waitUntil('its tiles are stored and it is old', async () => {
    const ready = await session.value(
      `SELECT (SELECT count(*) FROM public.ledger_tiles WHERE log = 'audit' AND level = 0) >= $1::bigint / 256
         AND (SELECT max(recorded_at) < clock_timestamp() - interval '0.9 seconds' FROM public.audit_entries
              WHERE chain_index < $1)
         AND coalesce((SELECT min(position) FROM public.audit_sinks) >= $1, true)`,
      [head],
    );
    return ready === true;
  });
}

/** Result and breaks of a full check. */
export async function checkInFull(service: TestService): Promise<{
  readonly result: string;
  readonly breaks: readonly { readonly code: string; readonly message: string }[];
}> {
  const { data, errors } = await service.call(
    'mutation { runIntegrityCheck(input: { kind: FULL }) { check { result breaks { code message } } } }',
  );
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
  return data?.runIntegrityCheck.check as Awaited<ReturnType<typeof checkInFull>>;
}
