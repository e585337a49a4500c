import { randomUUID } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { packFaultCodes } from '../../src/core/pack-faults.js';
import type { PackEncoding } from '../../src/core/pack-encoding.js';
import { encodeVerifierKey, parseVerifierKey, type VerifierKey } from '../../src/core/verifier-key.js';
import { ageDecoder, parseIdentities } from '../../src/packs/age.js';
import { DaybookError } from '../../src/errors.js';
import { isConnectionLost } from '../../src/ledger/database-errors.js';
import { createPack } from '../../src/packs/create-packs.js';
import { runDailyPacks } from '../../src/packs/daily-packs.js';
import { fetchPack } from '../../src/packs/fetch-pack.js';
import { removeStoredPacks, storePacks, type PackStoreOptions } from '../../src/packs/store-packs.js';
import { openDirectoryStore } from '../../src/storage/directory-store.js';
import { exitCodes } from '../../src/verifier/exit-codes.js';
import { exitCodeOfPacks, verifyPacks } from '../../src/verifier/verify-packs.js';
import { createAgeKey, type AgeKey } from '../support/age-command.js';
import { createFolder, readManifest } from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import { startLedgerDays, type LedgerDays } from '../support/ledger-days.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import type { TestDatabase } from '../support/test-database.js';
import { bundleVerifier } from '../support/standalone-verifier.js';
import { startTestService, type TestService } from '../support/test-service.js';

const dayMissing = 10 + Object.keys(packFaultCodes).indexOf('DAY_MISSING');
const signal = new AbortController().signal;
const caller = { actor: 'tester', role: null, ipAddress: null, userAgent: null, sessionId: 'test', requestId: 'r' };

(hasFakedClock ? describe : describe.skip)('packs of days', () => {
  let days: LedgerDays;
  let database: TestDatabase;
  let service: TestService;
  let folder: Awaited<ReturnType<typeof createFolder>>;
  let keys: VerifierKey[];
  let reader: AgeKey;

  beforeAll(async () => {
    days = await startLedgerDays();
    folder = await createFolder('day-packs');
    reader = await createAgeKey(folder.path, 'reader');
    database = await days.createDatabase();
    await days.goTo(0);
    const environment = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };
    service = await startTestService({ database, environment });
    await using session = await openSession(database.urls.application);
    await session.run(insertSignalsSql(3));
    // Day 1 has no signal; the ledger's own entries are all it holds.
    await days.goTo(2);
    await session.run(insertSignalsSql(500));
    await days.goTo(3, '00:30:00');
    const answer = await service.call('{ verifierKeys }');
    keys = (answer.data?.verifierKeys as string[]).map(parseVerifierKey);
  }, 120_000);

  afterAll(async () => {
    await expectLedgerIntact(database.urls.auditor);
    await service[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
    await days[Symbol.asyncDispose]();
  });

  const packsFolder = () => service.context.services.packs.folder;
  const copyOfPacks = async () => {
    const copy = join(folder.path, randomUUID());
    await cp(packsFolder(), copy, { recursive: true });
    return copy;
  };
  const storeIn = (path: string, packs: string): PackStoreOptions => ({
    store: openDirectoryStore(path),
    folder: packs,
    lockDays: 10,
    clock: service.context.services.clock,
    log: service.context.log,
  });

  test('the daily job makes each day that has ended, in order, each naming the one before it', async () => {
    const { packs } = service.context.services;
    await service.call('mutation { sealLog(input: { log: SIGNALS }) { sealed { date } } }');
    await runDailyPacks({ services: packs, store: null, keepDays: 90 }, signal);
    expect(await readdir(packs.folder)).toEqual([0, 1, 2].map((day) => days.dateOf(day)));
    const manifests = await Promise.all([0, 1, 2].map((day) => readManifest(join(packs.folder, days.dateOf(day)))));
    expect(manifests.map(({ manifest }) => manifest.logs.signals.count)).toEqual([3, 0, 500]);
    expect(manifests.map(({ manifest }) => manifest.previous_manifest?.export_date ?? null)).toEqual([
      null,
      days.dateOf(0),
      days.dateOf(1),
    ]);
    const found = await verifyPacks(packs.folder, keys);
    expect(found.packs.flatMap(({ faults }) => faults)).toEqual([]);
    expect(exitCodeOfPacks(found)).toBe(0);
    expect(exitCodeOfPacks(await verifyPacks(packs.folder, []))).toBe(3);
  });

  test('a pack that exists is returned as it is, and its bytes stay', async () => {
    const { packs } = service.context.services;
    const before = await verifyPacks(join(packs.folder, days.dateOf(1)), keys);
    const request = { date: days.dateOf(1), kind: 'DAY', origin: caller, signal } as const;
    const [again, same] = await Promise.all([createPack(packs, request), createPack(packs, request)]);
    expect(again).toEqual(same);
    expect(again.manifestSha256).toBe(before.packs[0]?.manifestSha256);
  });

  test('a day left out, and a day taken from elsewhere, is a fault of the sequence', async () => {
    const gap = await copyOfPacks();
    await rm(join(gap, days.dateOf(1)), { recursive: true });
    const found = await verifyPacks(gap, keys);
    expect(found.faults.map(({ code }) => code)).toEqual(['DAY_MISSING']);
    expect(exitCodeOfPacks(found)).toBe(dayMissing);
  });

  test('a day of any encoding may follow any other, and the stand-alone verifier tells a day left out', async () => {
    const { packs } = service.context.services;
    await days.goTo(5, '00:30:00');
    const make = (date: string, encoding: PackEncoding) =>
      createPack(packs, { date, kind: 'DAY', origin: caller, encoding, signal }).catch((error: unknown) => {
        // The server ends sessions whose time limits a clock that jumps has passed. Asked again, it is made.
        if (error instanceof DaybookError || !isConnectionLost(error)) throw error;
        return createPack(packs, { date, kind: 'DAY', origin: caller, encoding, signal });
      });
    await make(days.dateOf(3), { compression: 'gzip', recipients: [] });
    await make(days.dateOf(4), { compression: 'gzip', recipients: [reader.recipient] });
    const run = await bundleVerifier(folder.path);
    const pinned = keys.flatMap((key) => ['--key', encodeVerifierKey(key)]);
    expect((await run('pack', packs.folder, ...pinned)).exitCode).toBe(exitCodes.sealed);
    for (const day of [1, 3]) {
      const gap = await copyOfPacks();
      await rm(join(gap, days.dateOf(day)), { recursive: true });
      expect([day, (await run('pack', gap, ...pinned)).exitCode]).toEqual([day, dayMissing]);
    }
    const identity = parseIdentities(await readFile(reader.file, 'utf8'), 'the test');
    const opened = await verifyPacks(packs.folder, keys, { age: ageDecoder(identity) });
    expect(exitCodeOfPacks(opened)).toBe(0);
  });

  test('a folder left by a crash is no pack, and does not stand in the way', async () => {
    const { packs } = service.context.services;
    await mkdir(join(packs.folder, `building-${randomUUID()}`));
    await days.goTo(6, '00:30:00');
    // As after a crash between the rename and the record.
    await mkdir(join(packs.folder, days.dateOf(5)));
    await writeFile(join(packs.folder, days.dateOf(5), 'audit.jsonl'), 'half');
    const made = await createPack(packs, { date: days.dateOf(5), kind: 'DAY', origin: caller, signal });
    const found = await verifyPacks(join(packs.folder, days.dateOf(5)), keys);
    expect(found.packs[0]?.manifestSha256).toBe(made.manifestSha256);
    expect(exitCodeOfPacks(found)).toBe(0);
    expect((await readdir(packs.folder)).filter((name) => name.startsWith('building'))).toEqual([]);
  });

  test('stored packs come back the same, and only those that the store holds are removed from the node', async () => {
    const local = await copyOfPacks();
    for (const day of [1, 2, 3]) await rm(join(local, days.dateOf(day)), { recursive: true });
    const options = storeIn(join(folder.path, 'store'), local);
    expect(await removeStoredPacks({ ...options, keepDays: 1 }, days.dateOf(6))).toEqual([]);
    expect(await storePacks(options, signal)).toEqual([0, 4, 5].map((day) => days.dateOf(day)));
    expect(await storePacks(options, signal)).toEqual([]);
    expect(await removeStoredPacks({ ...options, keepDays: 2 }, days.dateOf(6))).toEqual([days.dateOf(0)]);
    expect(await readdir(local)).toEqual([4, 5].map((day) => days.dateOf(day)));
    const back = join(folder.path, 'back');
    await fetchPack({ store: options.store, date: days.dateOf(0), folder: back, decoders: null });
    expect(exitCodeOfPacks(await verifyPacks(back, keys))).toBe(0);
    await writeFile(join(folder.path, 'store', 'packs', days.dateOf(5), 'signals.csv'), 'other');
    await expect(
      fetchPack({ store: options.store, date: days.dateOf(5), folder: join(folder.path, 'bad'), decoders: null }),
    ).rejects.toMatchObject({
      code: 'OBJECT_CHANGED',
    });
    await options.store[Symbol.asyncDispose]();
  });
});
