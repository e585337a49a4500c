import { randomInt } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { logNames } from '../../src/ledger/rows.js';
import {
  expectDaysProven,
  expectOneHistory,
  expectPublishedWhole,
  expectRootsAnchored,
  readStoredCheckpoints,
} from '../support/expect-days-proven.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import type { HaltedStep } from '../support/halt-step.js';
import { checkIntegrity } from '../support/integrity-check.js';
import { readRecordedLog, readStoredRoots } from '../support/recorded-log.js';
import { dateOf, SimulatedDays } from '../support/simulated-days.js';
import { insertEntriesSql, insertSignalsSql, openSession } from '../support/sql-session.js';
import { waitUntil } from '../support/wait-until.js';

const days = 30;
const dates = Array.from({ length: days }, (_, day) => dateOf(day));
/** A node dies in the middle of this step, on these days. */
const stepOfDay: Readonly<Record<number, HaltedStep>> = {
  1: 'signing',
  3: 'sealing',
  8: 'publishing',
  10: 'anchoring',
  13: 'sealing',
  15: 'signing',
  20: 'anchoring',
  25: 'publishing',
};
/** Nobody seals these days before the next one that is not among them has ended. */
const leftUnsealed = new Set([5, 6, 7, 17, 22, 23]);
/** A transaction that appended before midnight commits after it. */
const openAcrossMidnight = new Set([4, 19]);
const dayBeforeSetback = 12;
const dayOfRestart = 24;

const waitingSealers = `SELECT count(*) FROM pg_stat_activity
  WHERE wait_event_type = 'Lock' AND query LIKE '%daybook.lock_ledger()%'`;

const waitingAppends = `SELECT count(*) FROM pg_stat_activity
  WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO public.%'`;

/** Held by whoever signs the signals and the audit log (sign-checkpoint.ts). */
const signerLocks = 'ARRAY[7219460237150045, 7219460237150046]';
const waitingForSigner = `SELECT count(DISTINCT objid) FROM pg_locks
  WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32) | objid::bigint = ANY (${signerLocks})`;

/** An entry is appended before midnight, and committed after sealers began to wait for it. */
async function passMidnightWithOpenTransaction(simulated: SimulatedDays, day: number): Promise<void> {
  await simulated.setClock(day, '23:59:50');
  await using late = await openSession(simulated.urls.application);
  await late.run('BEGIN');
  const [row] = await late.run(
    `${insertSignalsSql(1, 'late')} RETURNING chain_index, server_timestamp::date::text AS date`,
  );
  expect(row?.date).toBe(dateOf(day));
  await simulated.setClock(day + 1, '00:00:01');
  const sealing = simulated.seal(day);
  await waitUntil('a sealer waits', async () => Number(await simulated.session.value(waitingSealers)) > 0);
  expect(await simulated.isSealed(day)).toBe(false);
  await late.run('COMMIT');
  await sealing;
  const roots = await readStoredRoots(simulated.session, 'signals');
  expect(roots.at(-1)?.date).toBe(dateOf(day));
  expect(roots.at(-1)?.treeSize).toBeGreaterThan(Number(row?.chain_index));
}

/** The day that has just been sealed begins to end once more by the database's clock. */
async function setClockBack(simulated: SimulatedDays, day: number): Promise<void> {
  await simulated.setClock(day, '23:57:00');
  for (const node of simulated.nodes) await simulated.createSignal(node);
  await simulated.insertRows();
  await simulated.askToSeal();
}

async function live(simulated: SimulatedDays, day: number): Promise<void> {
  const step = stepOfDay[day];
  if (leftUnsealed.has(day)) await simulated.waitForNodes();
  await simulated.setClock(day, '12:00:00');
  if (step === 'signing' || step === 'publishing') await simulated.killIn(step, () => simulated.insertRows());
  if (openAcrossMidnight.has(day)) return passMidnightWithOpenTransaction(simulated, day);
  if (leftUnsealed.has(day)) return simulated.passMidnight(day);
  if (step === 'sealing' || step === 'anchoring') {
    // From before midnight on, for a node that starts seals by itself.
    return simulated.killIn(step, async () => {
      await simulated.passMidnight(day);
      await simulated.seal(day);
    });
  }
  const isCalm = step !== undefined || day === dayBeforeSetback;
  await Promise.all([simulated.passMidnight(day), isCalm || randomInt(2) === 0 ? null : simulated.killAtRandom(300)]);
  await Promise.all([simulated.seal(day), isCalm ? null : simulated.killAtRandom(250)]);
  if (day === dayBeforeSetback) await setClockBack(simulated, day);
  if (day === dayOfRestart) {
    await simulated.waitForNodes();
    await simulated.restart();
  }
}

(hasFakedClock ? describe : describe.skip)('the roots of thirty days', () => {
  test('are one for each day and log and one history for everybody, whichever node dies when', async () => {
    await using simulated = await SimulatedDays.start(`${dateOf(0)}T08:00:00Z`);
    const { collector, session, store, urls } = simulated;
    const published = await simulated.nodes[0].call('{ verifierKeys }');
    const keys = (published?.verifierKeys as string[]).map(parseVerifierKey);
    for (let day = 0; day < days; day += 1) {
      await live(simulated, day);
      await collector.takeRoots(store);
    }
    await simulated.setClock(days, '12:00:00');
    await simulated.waitForNodes();
    await simulated.seal(days - 1);
    // What died nodes left to the queue is released when a node starts.
    await simulated.restart();
    await simulated.waitForAnchors();
    await simulated.waitForPublication();
    await collector.takeRoots(store);
    await collector[Symbol.asyncDispose]();
    for (const node of simulated.nodes) expect([node.name, await node.stop()]).toEqual([node.name, 0]);

    const ledger = {
      signals: await readRecordedLog(session, 'signals'),
      audit: await readRecordedLog(session, 'audit'),
    };
    for (const log of logNames) {
      const roots = await readStoredRoots(session, log);
      expectDaysProven(ledger[log], roots, dates);
      expect(roots.some(({ date, sealedOn }) => Date.parse(sealedOn) - Date.parse(date) > 86_400_000)).toBe(true);
      expect(ledger[log].recordedAt).toEqual(ledger[log].recordedAt.toSorted());
    }
    const checkpoints = [...collector.seen, ...(await readStoredCheckpoints(session))];
    expectOneHistory(checkpoints, ledger, keys);
    expect(collector.faults).toEqual([]);
    expect([...collector.shown.values()].every((count) => count > 30)).toBe(true);
    await expectRootsAnchored(session, store);
    await expectPublishedWhole(store, keys, checkpoints, days);

    expect(simulated.nodes.flatMap(({ refusals }) => refusals)).toEqual([]);
    expect(await session.run('SELECT kind, title, details FROM incidents')).toEqual([]);
    const ids = await session.run('SELECT signal_id AS id, chain_index AS "chainIndex" FROM signals');
    expect(ids).toEqual(expect.arrayContaining(simulated.acknowledged));
    expect(simulated.kills.halted).toBe(Object.keys(stepOfDay).length);
    expect(simulated.kills.total).toBeGreaterThan(12);
    const database = { name: 'daybook', urls, [Symbol.asyncDispose]: () => Promise.resolve() };
    const check = await checkIntegrity(database, simulated.nodes[0].dataDir, 'FULL');
    expect(check).toMatchObject({ result: 'OK', breaks: [] });
    await expectLedgerIntact(urls.auditor);
  }, 300_000);

  test('stay right for a log that was quiet since midnight when the clock goes back before it', async () => {
    await using simulated = await SimulatedDays.start(`${dateOf(0)}T08:00:00Z`);
    const { session, urls } = simulated;
    await session.run(insertSignalsSql(3));
    await simulated.setClock(1, '00:05:00');
    await simulated.seal(0);
    await setClockBack(simulated, 0);
    await simulated.setClock(2, '00:05:00');
    await simulated.seal(1);
    for (const log of logNames) {
      const recorded = await readRecordedLog(session, log);
      expectDaysProven(recorded, await readStoredRoots(session, log), dates.slice(0, 2));
    }
    await expectLedgerIntact(urls.auditor);
  }, 60_000);

  test('have every append that waited while the clock went back', async () => {
    await using simulated = await SimulatedDays.start(`${dateOf(0)}T08:00:00Z`);
    const { session, urls } = simulated;
    for (const sql of [insertSignalsSql(1), insertEntriesSql(1)]) {
      await simulated.setClock(0, '12:00:00');
      await using first = await openSession(urls.application);
      await using second = await openSession(urls.application);
      await first.run(`BEGIN; ${sql}`);
      await simulated.setClock(0, '12:01:00');
      const waiting = second.run(sql);
      await waitUntil('the second append waits', async () => Number(await session.value(waitingAppends)) > 0);
      await simulated.setClock(0, '11:59:00');
      await first.run('COMMIT');
      await waiting;
    }
    await simulated.setClock(1, '00:05:00');
    await simulated.seal(0);
    for (const log of logNames) {
      expectDaysProven(await readRecordedLog(session, log), await readStoredRoots(session, log), dates.slice(0, 1));
    }
    await expectLedgerIntact(urls.auditor);
  }, 60_000);

  test('wait for the end of a day into which the clock goes back while it is sealed', async () => {
    await using simulated = await SimulatedDays.start(`${dateOf(0)}T08:00:00Z`);
    const { nodes, session, urls } = simulated;
    await session.run(insertSignalsSql(3));
    await simulated.setClock(1, '00:00:05');
    await using signer = await openSession(
      urls.superuser,
      `SELECT pg_advisory_lock(lock) FROM unnest(${signerLocks}) AS lock`,
    );
    const sealing = simulated.askToSeal();
    await waitUntil('the sealers wait', async () => Number(await session.value(waitingForSigner)) === logNames.length);
    await simulated.setClock(0, '23:58:00');
    await session.run(insertSignalsSql(2));
    await signer.run('SELECT pg_advisory_unlock_all()');
    await sealing;
    const refusals = nodes.flatMap((node) => node.refusals);
    // Calls that had not looked at the clock before it went back find no day to seal.
    expect(refusals.filter((refusal) => refusal.includes('DAY_NOT_OVER'))).not.toHaveLength(0);
    expect(await session.value('SELECT count(*) FROM merkle_roots')).toBe('0');
    await simulated.setClock(1, '00:05:00');
    await simulated.seal(0);
    for (const log of logNames) {
      expectDaysProven(await readRecordedLog(session, log), await readStoredRoots(session, log), dates.slice(0, 1));
    }
    await expectLedgerIntact(urls.auditor);
  }, 60_000);
});
