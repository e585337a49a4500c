import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import {
  anchorDue,
  checkFully,
  goToNextAttempt,
  readEntries,
  readPending,
  readRoots,
  sealAll,
  startLedgerDays,
  type LedgerDays,
} from '../support/ledger-days.js';
import { hasObjectLockServer, startObjectLockServer, type ObjectLockServer } from '../support/object-lock-server.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { startTcpRelay, type TcpRelay } from '../support/tcp-relay.js';
import { createTestBucket, provideCredentials, s3ClientOf } from '../support/test-bucket.js';
import type { TestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { createTimestampIssuer, type TimestampIssuer } from '../support/timestamp-issuer.js';
import { startTimestampServer, type TimestampServer } from '../support/timestamp-server.js';
import { waitUntil } from '../support/wait-until.js';

const common = {
  DAYBOOK_CHECKPOINT_SECONDS: '0.05',
  DAYBOOK_PUBLISH_SECONDS: '0.05',
  DAYBOOK_MASTER_KEY: '11'.repeat(32),
  DAYBOOK_JOBS: 'off',
};

let days: LedgerDays;

beforeAll(async () => {
  if (hasFakedClock) days = await startLedgerDays();
});

afterAll(async () => {
  await days?.[Symbol.asyncDispose]();
});

/** Writes five signals on day 0, which has ended when this returns. */
async function writeDayZero(service: TestService): Promise<void> {
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(5));
  await days.goTo(1, '00:05:00');
}

/** A break of an entry, made by somebody who has every right. */
async function changeEntry(database: TestDatabase): Promise<void> {
  await using superuser = await openSession(database.urls.superuser);
  await tamper(superuser, 'UPDATE public.signals SET entry_price = 1 WHERE chain_index = 2');
}

async function readIncidents(service: TestService): Promise<Record<string, any>[]> {
  const { data } = await service.call('{ incidents(open: true) { nodes { kind title occurrences details } } }');
  return (data?.incidents.nodes as Record<string, any>[]).filter(({ kind }) => kind === 'ANCHOR');
}

(hasFakedClock ? describe : describe.skip)('a required anchor', () => {
  let folder: string;
  let issuer: TimestampIssuer;
  let authority: TimestampServer;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'daybook-required-'));
    issuer = await createTimestampIssuer();
    authority = await startTimestampServer(issuer);
  });

  afterEach(async () => {
    await authority[Symbol.asyncDispose]();
    await issuer[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  test.each(['required', 'best-effort'])(
    'that is %s and late: an incident after an hour and a break after a day only where it is required',
    async (mode) => {
      const isRequired = mode === 'required';
      await days.goTo(0);
      const database = await days.createDatabase();
      const environment = {
        ...common,
        DAYBOOK_DATA_DIR: folder,
        DAYBOOK_TSA_URL: authority.url,
        DAYBOOK_TSA_CA_FILE: issuer.rootFile,
        DAYBOOK_ANCHOR_TIMESTAMP: mode,
        DAYBOOK_JOBS: 'on',
      };
      authority.lie('status-500');
      /** The jobs run at each start; what one of them said last is what the test waits for. */
      const runJobs = async (look: (service: TestService) => Promise<void>) => {
        const asked = authority.requests.length;
        await using service = await startTestService({ database, environment });
        await waitUntil('the authority was asked about both roots', () => authority.requests.length >= asked + 2);
        await look(service);
      };
      {
        await using before = await startTestService({ database, environment });
        await writeDayZero(before);
      }
      await runJobs(async (service) => expect(await readIncidents(service)).toEqual([]));

      await days.goTo(1, '01:10:00');
      await runJobs(async (service) => {
        if (isRequired) {
          const [incident] = await waitUntil('an incident is open', async () => {
            const found = await readIncidents(service);
            return found.length > 0 ? found : null;
          });
          expect(incident).toMatchObject({ occurrences: '1', details: { kind: 'timestamp', waiting: 2 } });
          expect(incident!['title']).toContain(authority.url);
        }
        expect((await checkFully(service)).result).toBe('OK');
      });
      await days.goTo(2, '01:00:00');
      await runJobs(async (service) => {
        if (isRequired) {
          await waitUntil('it is seen again', async () => (await readIncidents(service))[0]?.['occurrences'] !== '1');
        }
        const { result, codes } = await checkFully(service);
        expect({ result, codes }).toEqual(
          isRequired ? { result: 'FAILED', codes: ['ANCHOR_MISSING'] } : { result: 'OK', codes: [] },
        );
        if (!isRequired) expect(await readIncidents(service)).toEqual([]);
      });

      authority.lie(null);
      await days.goTo(2, '03:00:00');
      await runJobs(async (service) => {
        await waitUntil('every root is anchored', async () =>
          (await readRoots(service)).every(({ anchors }) => anchors.every(({ status }) => status === 'ANCHORED')),
        );
        expect((await checkFully(service)).codes).toEqual([]);
      });
    },
  );
});

(hasFakedClock && hasObjectLockServer ? describe : describe.skip)('a bucket that keeps roots and goes away', () => {
  let server: ObjectLockServer;
  let client: S3Client;
  let credentials: Disposable;
  let relay: TcpRelay;

  beforeAll(async () => {
    server = await startObjectLockServer();
    client = s3ClientOf(server);
    credentials = provideCredentials(server);
    relay = await startTcpRelay(server.endpoint);
  });

  afterEach(() => relay.set('open'));

  afterAll(async () => {
    await relay?.[Symbol.asyncDispose]();
    credentials?.[Symbol.dispose]();
    client?.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  async function start(mode: string): Promise<TestService> {
    await days.goTo(0);
    const environment = {
      ...common,
      DAYBOOK_S3_BUCKET: await createTestBucket(client, 'locking'),
      DAYBOOK_S3_ENDPOINT: relay.endpoint,
      DAYBOOK_ANCHOR_STORE: mode,
    };
    const service = await startTestService({ database: await days.createDatabase(), environment });
    await writeDayZero(service);
    return service;
  }

  test('gets the root when it is back, and the days are sealed meanwhile', async () => {
    await using service = await start('best-effort');
    await using session = await openSession(service.database.urls.superuser);
    relay.set('cut');
    await sealAll(service);
    expect(await anchorDue(service)).toMatchObject({ anchored: 0, failed: 2 });
    await days.goTo(2, '00:05:00');
    expect(await sealAll(service)).toHaveLength(4);
    expect(await anchorDue(service)).toMatchObject({ anchored: 0, failed: 4 });
    const unavailable = { outcome: 'OBJECT_STORE_UNAVAILABLE' };
    expect(await readEntries(service, 'AnchorFailed')).toMatchObject(Array(4).fill(unavailable));
    expect((await readPending(session)).attempts).toBe(2);
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    expect(metrics).toContain('daybook_anchors_waiting{kind="object-store",mode="best-effort"} 4');

    relay.set('open');
    await goToNextAttempt(days, session);
    expect(await anchorDue(service)).toMatchObject({ anchored: 4, failed: 0 });
    expect(await checkFully(service)).toEqual({ result: 'OK', codes: [], messages: '' });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test.each(['required', 'best-effort'])('and is %s: a full check tells what it can see without it', async (mode) => {
    await using service = await start(mode);
    await sealAll(service);
    await anchorDue(service);
    relay.set('cut');
    const without = await checkFully(service);
    const [result, codes] = mode === 'required' ? ['FAILED', ['ANCHOR_MISSING']] : ['OK', []];
    expect(without).toMatchObject({ result, codes });
    if (mode === 'required') expect(without.messages).toContain(`${relay.endpoint} is required and cannot be read`);
    // A store that is kept away does not hide what the entries themselves show.
    await changeEntry(service.database);
    const changed = await checkFully(service);
    expect(changed.result).toBe('FAILED');
    expect(changed.codes).toContain('COLUMN_MISMATCH');
    expect(changed.codes.includes('ANCHOR_MISSING')).toBe(mode === 'required');
  });
});
