import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import {
  anchorDue,
  checkFully,
  goToNextAttempt,
  readEntries,
  readPending,
  readRoots,
  rootOf,
  sealAll,
  startLedgerDays,
  type LedgerDays,
  type RootAnswer,
} from '../support/ledger-days.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { createTimestampIssuer, type TimestampIssuer } from '../support/timestamp-issuer.js';
import { startTimestampServer, type TimestampLie, type TimestampServer } from '../support/timestamp-server.js';
import { waitUntil } from '../support/wait-until.js';

let days: LedgerDays;
let issuer: TimestampIssuer;
let authority: TimestampServer;
let folder: string;

beforeAll(async () => {
  if (!hasFakedClock) return;
  [days, issuer] = await Promise.all([startLedgerDays(), createTimestampIssuer()]);
  authority = await startTimestampServer(issuer);
  folder = await mkdtemp(join(tmpdir(), 'daybook-timestamps-'));
});

afterAll(async () => {
  await authority?.[Symbol.asyncDispose]();
  await issuer?.[Symbol.asyncDispose]();
  await days?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

/** A service that wrote on day 0 and is on day 1, with nothing sealed yet; its store is a folder. */
async function startOnDayOne(changes: Record<string, string> = {}): Promise<TestService> {
  await days.goTo(0);
  const database = await days.createDatabase();
  const environment = {
    DAYBOOK_CHECKPOINT_SECONDS: '0.05',
    DAYBOOK_PUBLISH_SECONDS: '0.05',
    DAYBOOK_JOBS: 'off',
    DAYBOOK_STORE_DIR: join(folder, database.name),
    DAYBOOK_TSA_URL: authority.url,
    DAYBOOK_TSA_CA_FILE: issuer.rootFile,
    ...changes,
  };
  const service = await startTestService({ database, environment });
  await using session = await openSession(database.urls.application);
  await session.run(insertSignalsSql(5));
  await days.goTo(1, '00:05:00');
  return service;
}

/** `openssl ts -verify` of a response over the bytes of a text, with the authority's root as the only certificate. */
async function opensslAccepts(response: Uint8Array, text: string): Promise<boolean> {
  const [responseFile, textFile] = [join(folder, 'response'), join(folder, 'text')];
  await writeFile(responseFile, response);
  await writeFile(textFile, text);
  const args = ['ts', '-verify', '-in', responseFile, '-data', textFile, '-CAfile', issuer.rootFile];
  return new Promise((resolve) => {
    execFile('openssl', args, (err, stdout, stderr) => {
      resolve(err === null && `${stdout}${stderr}`.includes('Verification: OK'));
    });
  });
}

async function fetchFile(service: TestService, path: string): Promise<Uint8Array> {
  const response = await fetch(`${service.url}/logs/${path}`);
  expect(response.status).toBe(200);
  return new Uint8Array(await response.arrayBuffer());
}

function timestampOf(root: RootAnswer) {
  return root.anchors.find(({ kind }) => kind === 'timestamp')!;
}

(hasFakedClock ? describe : describe.skip)("the timestamp of a day's root", () => {
  test('is made by the jobs of a node, and OpenSSL verifies it over the text of the note', async () => {
    await using service = await startOnDayOne({ DAYBOOK_JOBS: 'on' });
    await sealAll(service);
    const roots = await waitUntil('every root has its timestamp', async () => {
      const found = await readRoots(service);
      return found.every((root) => timestampOf(root).status === 'ANCHORED') ? found : null;
    });
    expect(roots).toHaveLength(2);
    for (const { log, date, checkpoint } of roots) {
      const text = checkpoint.slice(0, checkpoint.indexOf('\n\n') + 1);
      expect(text.endsWith('\n')).toBe(true);
      const response = await fetchFile(service, `${log.toLowerCase()}/roots/${date}.tsr`);
      expect(await opensslAccepts(response, text)).toBe(true);
      expect(await opensslAccepts(response, `${text}\n`)).toBe(false);
      const kept = join(service.context.config.store.folder, log.toLowerCase(), 'roots', `${date}.tsr`);
      const bytes = await waitUntil('it lies beside the root', () => readFile(kept).catch(() => null));
      expect(Buffer.from(response).equals(bytes)).toBe(true);
      const published = await fetchFile(service, `${log.toLowerCase()}/roots/${date}.checkpoint`);
      expect(Buffer.from(published).toString()).toBe(checkpoint);
    }
    expect(await checkFully(service)).toEqual({ result: 'OK', codes: [], messages: '' });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('is asked for again after every lie, ever later, with the reason in the open and one entry on the record', async () => {
    await using service = await startOnDayOne();
    await using session = await openSession(service.database.urls.superuser);
    await sealAll(service);
    const lies: readonly TimestampLie[] = [
      'other-digest',
      'other-nonce',
      'flipped-bit',
      'rejection',
      'status-500',
      'status-404',
      'busy',
      'huge-answer',
      'endless-answer',
      'wrong-content-type',
      'redirect',
      'garbage',
    ];
    for (const [place, lie] of lies.entries()) {
      authority.lie(lie);
      // The roots themselves are kept in the store at the first pass.
      expect(await anchorDue(service)).toMatchObject({ anchored: place === 0 ? 2 : 0, failed: 2 });
      for (const root of await readRoots(service)) {
        expect(timestampOf(root)).toMatchObject({ status: 'PENDING', reference: null, target: authority.url });
        expect(timestampOf(root).error).toContain(authority.url);
      }
      const { attempts, pauseSeconds } = await readPending(session);
      expect(attempts).toBe(place + 1);
      const expected = Math.min(10 * 2 ** place, 3_600);
      expect(pauseSeconds).toBeGreaterThan(expected - 10);
      expect(pauseSeconds).toBeLessThanOrEqual(expected);
      expect(await anchorDue(service)).toMatchObject({ anchored: 0, failed: 0 });
      await goToNextAttempt(days, session);
    }
    const failures = await readEntries(service, 'AnchorFailed');
    expect(failures.map(({ resource, outcome }) => [resource, outcome])).toEqual([
      [`audit/${days.dateOf(0)}`, 'ANCHOR_REFUSED'],
      [`signals/${days.dateOf(0)}`, 'ANCHOR_REFUSED'],
    ]);
    for (const { log, date } of await readRoots(service)) {
      expect((await fetch(`${service.url}/logs/${log.toLowerCase()}/roots/${date}.tsr`)).status).toBe(404);
    }

    authority.lie(null);
    expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 0 });
    for (const root of await readRoots(service)) {
      expect(timestampOf(root)).toMatchObject({ status: 'ANCHORED', error: null });
      const response = await fetchFile(service, `${root.log.toLowerCase()}/roots/${root.date}.tsr`);
      expect(await opensslAccepts(response, root.checkpoint.split('\n\n')[0]! + '\n')).toBe(true);
    }
    expect(await readEntries(service, 'AnchorFailed')).toHaveLength(2);
    expect((await checkFully(service)).result).toBe('OK');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('is found where it was exchanged for that of another root, and where it was damaged', async () => {
    await using service = await startOnDayOne();
    await sealAll(service);
    await anchorDue(service);
    await using superuser = await openSession(service.database.urls.superuser);
    const mismatches = async () => {
      const { result, messages } = await checkFully(service);
      expect(result).toBe('FAILED');
      return messages.split('\n').filter((line) => line.includes('the kept timestamp'));
    };
    await tamper(
      superuser,
      `UPDATE public.anchors SET evidence = other.evidence FROM public.anchors AS other
       WHERE anchors.kind = 'timestamp' AND other.kind = 'timestamp' AND anchors.log = 'signals' AND other.log = 'audit'`,
    );
    expect(await mismatches()).toEqual([expect.stringMatching(`^signals: ${days.dateOf(0)}: `)]);
    expect((await checkFully(service)).codes).toContain('ANCHOR_MISMATCH');
    await tamper(
      superuser,
      `UPDATE public.anchors SET evidence = set_byte(evidence, octet_length(evidence) - 1,
         get_byte(evidence, octet_length(evidence) - 1) # 1) WHERE kind = 'timestamp' AND log = 'audit'`,
    );
    expect(await mismatches()).toHaveLength(2);
  });

  test('is not taken from an authority under other certificates than the pinned ones', async () => {
    await using stranger = await createTimestampIssuer();
    await using service = await startOnDayOne({ DAYBOOK_TSA_CA_FILE: stranger.rootFile });
    await sealAll(service);
    expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 2 });
    const refused = { outcome: 'ANCHOR_REFUSED' };
    expect(await readEntries(service, 'AnchorFailed')).toMatchObject([refused, refused]);
    expect(timestampOf(rootOf(await readRoots(service), 'AUDIT', days.dateOf(0))).status).toBe('PENDING');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test.each([
    ['is missing', null],
    ['holds no certificate', 'no certificate'],
    [
      'holds a certificate that is none',
      '-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n',
    ],
  ])('keeps a node from starting where the file of its certificates %s', async (_what, content) => {
    const path = join(folder, 'pinned.pem');
    await rm(path, { force: true });
    if (content !== null) await writeFile(path, content);
    await expect(startOnDayOne({ DAYBOOK_TSA_CA_FILE: path })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

(hasFakedClock ? test : test.skip)('a store that takes nothing does not hold timestamps back', async () => {
  const store = await mkdtemp(join(folder, 'store-'));
  await using service = await startOnDayOne({ DAYBOOK_STORE_DIR: store });
  await using session = await openSession(service.database.urls.superuser);
  // Files in the place of the folders that roots go to.
  for (const log of ['signals', 'audit']) {
    await waitUntil(`${log} is published`, () => readdir(join(store, log)).catch(() => null));
    await writeFile(join(store, log, 'roots'), '');
  }
  await sealAll(service);
  expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 2 });
  expect(await session.value("SELECT count(*) FROM anchors WHERE kind = 'timestamp' AND kept_at IS NULL")).toBe('2');
  for (const log of ['signals', 'audit']) await rm(join(store, log, 'roots'));
  await anchorDue(service);
  const [tsr] = (await readdir(join(store, 'signals', 'roots'))).filter((name) => name.endsWith('.tsr'));
  const evidence = await session.value("SELECT evidence FROM anchors WHERE kind = 'timestamp' AND log = 'signals'");
  expect(await readFile(join(store, 'signals', 'roots', tsr ?? ''))).toEqual(evidence);
  await expectLedgerIntact(service.database.urls.auditor);
});
