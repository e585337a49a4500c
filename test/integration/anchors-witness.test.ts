import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { verifyCosignature } from '../../src/core/cosignature.js';
import { parseNote } from '../../src/core/signed-note.js';
import { encodeVerifierKey, parseVerifierKey, type VerifierKey } from '../../src/core/verifier-key.js';
import { readFolder } from '../../src/verifier/read-folder.js';
import { verifyLayout } from '../../src/verifier/verify-layout.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import {
  anchorDue,
  checkFully,
  goToNextAttempt,
  readEntries,
  readRoots,
  rootOf,
  sealAll,
  startLedgerDays,
  type LedgerDays,
  type RootAnswer,
} from '../support/ledger-days.js';
import { insertEntriesSql, insertSignalsSql, openSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';
import { startWitness, type WitnessServer } from '../support/witness-server.js';

let days: LedgerDays;
let folder: string;
let logKeys: Map<string, VerifierKey>;
let witnesses: readonly [WitnessServer, WitnessServer];
/** The witnesses' clock moves with each cosignature, so that cosignatures tell their order. */
let ticks: number;

beforeAll(async () => {
  if (!hasFakedClock) return;
  days = await startLedgerDays();
  folder = await mkdtemp(join(tmpdir(), 'daybook-witnessed-'));
});

afterAll(async () => {
  await days?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true });
});

beforeEach(async () => {
  logKeys = new Map();
  ticks = Math.floor(Date.now() / 1_000) - 10_000;
  const start = (name: string) => startWitness({ name, logs: logKeys, nowSeconds: () => (ticks += 1) });
  witnesses = [await start('one.example/w1'), await start('two.example/w2')];
});

afterEach(async () => {
  for (const witness of witnesses) await witness[Symbol.asyncDispose]();
});

/** A service on day 0 whose log keys both witnesses know; its store is a folder. */
async function startOnDayZero(changes: Record<string, string> = {}): Promise<TestService> {
  await days.goTo(0);
  const database = await days.createDatabase();
  const environment = {
    DAYBOOK_CHECKPOINT_SECONDS: '0.05',
    DAYBOOK_PUBLISH_SECONDS: '0.05',
    DAYBOOK_JOBS: 'off',
    DAYBOOK_STORE_DIR: join(folder, database.name),
    DAYBOOK_WITNESSES: witnesses.map(({ key, url }) => `${encodeVerifierKey(key)} ${url}`).join('\n'),
    ...changes,
  };
  const service = await startTestService({ database, environment });
  const { data } = await service.call('{ verifierKeys }');
  for (const key of (data?.verifierKeys as string[]).map(parseVerifierKey)) logKeys.set(key.name, key);
  return service;
}

/** Writes `signals` and an audit entry, ends the day and seals it. */
async function endDay(service: TestService, day: number, signals: number): Promise<void> {
  await using session = await openSession(service.database.urls.application);
  if (signals > 0) await session.run(insertSignalsSql(signals));
  await session.run(insertEntriesSql(1));
  await days.goTo(day + 1, '00:05:00');
  await sealAll(service);
}

/** When each witness cosigned the note, by the witness' clock; null for one whose good cosignature is not there. */
function cosignedAt(note: string): (number | null)[] {
  const { text, signatures } = parseNote(note);
  return witnesses.map(({ key }) => {
    const found = signatures.map((signature) => verifyCosignature(text, signature, key)).find((one) => one !== null);
    return found?.seconds ?? null;
  });
}

/** The witnessed note over HTTP, which must say the same as the one in the store; null where there is none. */
async function readWitnessed(service: TestService, { log, date }: RootAnswer): Promise<string | null> {
  const path = `${log.toLowerCase()}/roots/${date}.witnessed`;
  const response = await fetch(`${service.url}/logs/${path}`);
  if (response.status === 404) return null;
  const note = await response.text();
  const kept = await readFile(join(service.context.config.store.folder, path), 'utf8');
  expect(kept.split('\n').sort()).toEqual(note.split('\n').sort());
  return note;
}

const ofWitness = (root: RootAnswer, place: 0 | 1) =>
  root.anchors.find(({ kind, target }) => kind === 'witness' && target.endsWith(witnesses[place].url))!;

(hasFakedClock ? describe : describe.skip)("the witnesses of a day's root", () => {
  test('cosign every day in order, empty logs and days without entries too', async () => {
    await using service = await startOnDayZero();
    for (const [day, signals] of [0, 300, 0, 41].entries()) {
      await endDay(service, day, signals);
      expect(await anchorDue(service)).toMatchObject({ anchored: 6, failed: 0 });
    }
    const roots = await readRoots(service);
    const signals = roots.filter(({ log }) => log === 'SIGNALS').reverse();
    expect(signals.map(({ treeSize }) => treeSize)).toEqual(['0', '300', '300', '341']);
    for (const root of roots) {
      const note = await readWitnessed(service, root);
      expect(note!.startsWith(root.checkpoint)).toBe(true);
      expect(cosignedAt(note!)).toEqual([expect.any(Number), expect.any(Number)]);
      expect(ofWitness(root, 0)).toMatchObject({
        status: 'ANCHORED',
        reference: `one.example/w1+${witnesses[0].key.keyId}`,
      });
    }
    for (const { requests, trees } of witnesses) {
      expect(trees.get('daybook.local/signals')?.size).toBe(341);
      const ofSignals = requests.filter(({ oldSize }) => oldSize === 300);
      // To the same size there is nothing to prove, to 341 there is.
      expect(ofSignals.map(({ proofLines }) => proofLines > 0)).toEqual([false, true]);
      expect(requests).toHaveLength(8);
    }
    expect(await checkFully(service)).toEqual({ result: 'OK', codes: [], messages: '' });
    const keys = [...logKeys.values(), ...witnesses.map(({ key }) => key)];
    for (const log of ['signals', 'audit']) {
      const reader = await readFolder(join(service.context.config.store.folder, log));
      const found = await verifyLayout({ reader, keys, origin: `daybook.local/${log}` });
      expect(found).toMatchObject({ breaks: [], signer: 'verified', roots: { roots: 4, witnessed: 4 } });
    }
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('catch up in the order of the days when one was down', async () => {
    await using service = await startOnDayZero();
    await using session = await openSession(service.database.urls.superuser);
    witnesses[1].lie('down');
    for (const [day, signals] of [7, 300, 0, 1].entries()) {
      await endDay(service, day, signals);
      await anchorDue(service);
    }
    const waiting = await readRoots(service);
    expect(waiting.map((root) => ofWitness(root, 0).status)).toEqual(Array(8).fill('ANCHORED'));
    expect(waiting.map((root) => ofWitness(root, 1).status)).toEqual(Array(8).fill('PENDING'));
    // Only the earliest root of each log is tried, so only that one tells why.
    const told = waiting.filter((root) => ofWitness(root, 1).error !== null);
    expect(told.map(({ log, date }) => [log, date]).sort()).toEqual([
      ['AUDIT', days.dateOf(0)],
      ['SIGNALS', days.dateOf(0)],
    ]);
    const outcomes = (await readEntries(service, 'AnchorFailed')).map(({ outcome }) => outcome);
    expect(outcomes).toEqual(['ANCHOR_UNAVAILABLE', 'ANCHOR_UNAVAILABLE']);
    for (const root of waiting) expect(cosignedAt((await readWitnessed(service, root))!)[1]).toBeNull();

    witnesses[1].lie(null);
    await goToNextAttempt(days, session);
    expect(await anchorDue(service)).toMatchObject({ anchored: 8, failed: 0 });
    for (const log of ['SIGNALS', 'AUDIT']) {
      const ofLog = (await readRoots(service)).filter((root) => root.log === log).reverse();
      const times = await Promise.all(ofLog.map(async (root) => cosignedAt((await readWitnessed(service, root))!)[1]!));
      expect(times).toHaveLength(4);
      expect(times).toEqual([...times].sort((left, right) => left - right));
    }
    expect(witnesses[1].trees.get('daybook.local/signals')?.size).toBe(308);
    expect((await checkFully(service)).result).toBe('OK');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('that cosigned and were not heard cosign again, and the note keeps what verifies', async () => {
    await using service = await startOnDayZero();
    await using session = await openSession(service.database.urls.superuser);
    // They check and remember, and the answer is worthless.
    witnesses[0].lie('no-lines');
    await endDay(service, 0, 5);
    expect(await anchorDue(service)).toMatchObject({ anchored: 4, failed: 2 });
    expect(witnesses[0].trees.get('daybook.local/signals')?.size).toBe(5);
    witnesses[0].lie(null);
    await goToNextAttempt(days, session);
    expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 0 });
    for (const root of await readRoots(service)) {
      expect(cosignedAt((await readWitnessed(service, root))!)).toEqual([expect.any(Number), expect.any(Number)]);
    }
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test.each([
    ['saw another root at this size', (size: number) => size],
    ['saw a larger tree', (size: number) => size + 1],
    ['saw another beginning', (size: number) => size - 2],
  ])('that %s show a fork: the root stays pending, and the reason is on the record', async (_what, sizeSeen) => {
    await using service = await startOnDayZero();
    const root = new Uint8Array(32).fill(7);
    witnesses[0].trees.set('daybook.local/signals', { size: sizeSeen(5), root });
    await endDay(service, 0, 5);
    const target = `one.example/w1+${witnesses[0].key.keyId} ${witnesses[0].url}`;
    expect(await anchorDue(service)).toMatchObject({
      anchored: 5,
      failed: 1,
      forks: [{ log: 'signals', date: days.dateOf(0), target }],
    });
    const signals = rootOf(await readRoots(service), 'SIGNALS', days.dateOf(0));
    expect(ofWitness(signals, 0)).toMatchObject({ status: 'PENDING', reference: null });
    expect(ofWitness(signals, 0).error).toContain('FORKED');
    expect(ofWitness(signals, 1)).toMatchObject({ status: 'ANCHORED' });
    const failures = await readEntries(service, 'AnchorFailed');
    expect(failures).toMatchObject([{ resource: `signals/${days.dateOf(0)}`, outcome: 'ANCHOR_REFUSED' }]);
    expect(cosignedAt((await readWitnessed(service, signals))!)).toEqual([null, expect.any(Number)]);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('open an incident through the jobs of a node when they show a fork', async () => {
    const environment = {
      DAYBOOK_JOBS: 'on',
      DAYBOOK_MASTER_KEY: '11'.repeat(32),
      DAYBOOK_DATA_DIR: join(folder, 'node'),
    };
    await using service = await startOnDayZero(environment);
    for (const name of logKeys.keys()) witnesses[0].trees.set(name, { size: 1, root: new Uint8Array(32).fill(7) });
    await endDay(service, 0, 5);
    const incidents = await waitUntil('an incident for each log is open', async () => {
      const { data } = await service.call('{ incidents(open: true) { nodes { kind title details occurrences } } }');
      const found = data?.incidents.nodes as Record<string, any>[];
      return found.length === 2 ? found : null;
    });
    for (const log of ['signals', 'audit']) {
      const title = expect.stringMatching(`^An anchor contradicts the ${log} log: one.example/w1`);
      const details = expect.objectContaining({ log, date: days.dateOf(0), reason: expect.stringContaining('FORKED') });
      expect(incidents).toContainEqual({ kind: 'ANCHOR', title, details, occurrences: '1' });
    }
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('are not believed by others: a kept cosignature that was exchanged is found', async () => {
    await using service = await startOnDayZero();
    await endDay(service, 0, 5);
    await anchorDue(service);
    await using superuser = await openSession(service.database.urls.superuser);
    await tamper(
      superuser,
      `UPDATE public.anchors SET evidence = other.evidence FROM public.anchors AS other
       WHERE anchors.kind = 'witness' AND anchors.log = 'signals' AND other.log = 'audit' AND other.target = anchors.target
         AND anchors.target LIKE 'two.example/%'`,
    );
    const { codes, messages } = await checkFully(service);
    expect(codes).toContain('ANCHOR_MISMATCH');
    const told = messages.split('\n').filter((line) => line.includes('the kept cosignature'));
    expect(told).toEqual([expect.stringMatching(`^signals: ${days.dateOf(0)}: .*two.example/w2`)]);
  });
});
