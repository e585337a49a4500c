import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import {
  acknowledgeIncident,
  closeIncident,
  openIncident,
  reportIncidents,
  type IncidentReport,
  type IncidentStore,
} from '../../src/integrity/incidents.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { readIncidents } from '../../src/integrity/read-incidents.js';
import type { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openWriter } from '../support/integrity-baseline.js';
import { sampleEntry } from '../support/sample-entries.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let pool: pg.Pool;
/** Two nodes: each has a writer of its own. */
let writers: [LedgerWriter, LedgerWriter];
let stores: [IncidentStore, IncidentStore];

const alice = { ...serviceOrigin('session', 'request'), actor: 'alice', role: 'AUDITOR' };
const bob = { ...alice, actor: 'bob' };

beforeAll(async () => {
  database = await createTestDatabase();
  pool = openPool({ ...ledgerConnection(database.urls.application, 'test'), max: 4 }, () => undefined);
  writers = [openWriter(database), openWriter(database)];
  stores = [storeOf(writers[0]), storeOf(writers[1])];
});

function storeOf(writer: LedgerWriter): IncidentStore {
  return { database: pool, append: (request) => writer.append(request) };
}

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  for (const writer of writers) await writer[Symbol.asyncDispose]();
  await pool.end();
  await database[Symbol.asyncDispose]();
});

function report(fingerprint: string): IncidentReport {
  return {
    kind: 'INTEGRITY',
    fingerprint,
    title: `something is wrong: ${fingerprint}`,
    details: (known) => ({ seen: Number(known?.['seen'] ?? 0) + 1 }),
  };
}

async function eventsOf(id: string): Promise<unknown[]> {
  const found = await pool.query<{ event: string; actor: string; note: string | null }>(
    `SELECT event, actor, details ->> 'note' AS note FROM public.audit_entries WHERE resource = $1 ORDER BY chain_index`,
    [`incident/${id}`],
  );
  return found.rows.map(({ event, actor, note }) => (note === null ? [event, actor] : [event, actor, note]));
}

async function allOf(fingerprint: string) {
  const { rows } = await readIncidents(pool, null, { first: 1_000 });
  return rows.filter((row) => row.fingerprint === fingerprint);
}

describe('an incident', () => {
  test('goes from open to acknowledged to closed, each step with its entry', async () => {
    const opened = await openIncident(stores[0], { title: ' the feed stands still ', note: 'since noon' }, alice);
    expect(opened).toMatchObject({
      kind: 'OPERATOR',
      title: 'the feed stands still',
      status: 'OPEN',
      openedBy: 'alice',
      occurrences: '1',
      details: '{"note":"since noon"}',
      acknowledgedAt: null,
    });
    const acknowledged = await acknowledgeIncident(stores[0], { id: opened.id, note: 'I look' }, bob);
    expect(acknowledged).toMatchObject({
      status: 'ACKNOWLEDGED',
      acknowledgedBy: 'bob',
      acknowledgementNote: 'I look',
    });
    const closed = await closeIncident(stores[0], { id: opened.id, note: 'a cable' }, alice);
    expect(closed).toMatchObject({
      status: 'CLOSED',
      closedBy: 'alice',
      closingNote: 'a cable',
      acknowledgedBy: 'bob',
      acknowledgedAt: acknowledged.acknowledgedAt,
    });
    expect(await eventsOf(opened.id)).toEqual([
      ['IncidentOpened', 'alice', 'since noon'],
      ['IncidentAcknowledged', 'bob', 'I look'],
      ['IncidentClosed', 'alice', 'a cable'],
    ]);
  });

  test('closed while open is acknowledged by the same person and note', async () => {
    const { id } = await openIncident(stores[0], { title: 'nothing' }, alice);
    expect(await closeIncident(stores[0], { id, note: 'a mistake' }, bob)).toMatchObject({
      status: 'CLOSED',
      acknowledgedBy: 'bob',
      acknowledgementNote: 'a mistake',
      closedBy: 'bob',
    });
  });

  test('that is closed stays closed', async () => {
    const { id } = await openIncident(stores[0], { title: 'nothing' }, alice);
    await closeIncident(stores[0], { id, note: 'done' }, alice);
    await expect(closeIncident(stores[0], { id, note: 'done' }, alice)).rejects.toMatchObject({
      code: 'INCIDENT_STATE',
    });
    await expect(acknowledgeIncident(stores[0], { id, note: 'late' }, bob)).rejects.toMatchObject({
      code: 'INCIDENT_STATE',
    });
    expect(await eventsOf(id)).toHaveLength(2);
  });

  test.each(['not-an-id', '00000000-0000-4000-8000-000000000000'])('with the id %s is not found', async (id) => {
    await expect(acknowledgeIncident(stores[0], { id, note: 'x' }, alice)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each(['', '   ', 'x'.repeat(2_001), 'nul \0'])('does not take the note %#', async (note) => {
    const { id } = await openIncident(stores[0], { title: 'nothing' }, alice);
    for (const step of [acknowledgeIncident, closeIncident]) {
      await expect(step(stores[0], { id, note }, alice)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    }
    await expect(openIncident(stores[0], { title: 'x', note }, alice)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
    });
  });
});

describe('of those who do it at once', () => {
  test.each(['in one node', 'in two nodes'])('one acknowledges, the others are told: %s', async (where) => {
    for (let round = 0; round < 5; round += 1) {
      const { id } = await openIncident(stores[0], { title: 'a race' }, alice);
      const other = stores[where === 'in one node' ? 0 : 1];
      const steps = await Promise.allSettled([
        acknowledgeIncident(stores[0], { id, note: 'mine' }, alice),
        acknowledgeIncident(other, { id, note: 'no, mine' }, bob),
        // Shares the writer's transaction, and must not be drawn into the refusal.
        stores[0].append({ entries: [sampleEntry(`${where} ${round}`)] }),
      ]);
      expect(steps.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected']);
      expect(steps.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'INCIDENT_STATE' } });
      expect(await eventsOf(id)).toHaveLength(2);
    }
  });

  test('all reports of one fault end in one open incident that counts them', async () => {
    for (let round = 0; round < 5; round += 1) {
      const fingerprint = `race ${round}`;
      await Promise.all(
        [0, 1, 0, 1].map((node) => reportIncidents(stores[node as 0 | 1], [report(fingerprint)], alice)),
      );
      const [incident, ...others] = await allOf(fingerprint);
      expect(others).toEqual([]);
      expect(incident).toMatchObject({ status: 'OPEN', occurrences: '4' });
      expect(await eventsOf(incident!.id)).toEqual([['IncidentOpened', 'alice']]);
    }
  });

  test('a report and a closing leave either a count or a new incident, never a lost fault', async () => {
    for (let round = 0; round < 5; round += 1) {
      const fingerprint = `closing race ${round}`;
      await reportIncidents(stores[0], [report(fingerprint)], alice);
      const [{ id } = { id: '' }] = await allOf(fingerprint);
      await Promise.all([
        closeIncident(stores[0], { id, note: 'done' }, bob),
        reportIncidents(stores[1], [report(fingerprint)], alice),
      ]);
      const rows = await allOf(fingerprint);
      expect(rows.reduce((sum, row) => sum + Number(row.occurrences), 0)).toBe(2);
      expect(rows.at(-1)).toMatchObject({ id, status: 'CLOSED' });
    }
  });
});

describe('a fault', () => {
  test('seen again is counted, with what is known about it, until its incident is closed', async () => {
    await reportIncidents(stores[0], [report('again')], alice);
    await reportIncidents(stores[0], [report('again'), report('another')], alice);
    const [first] = await allOf('again');
    expect(first).toMatchObject({ occurrences: '2', details: '{"seen":2}' });
    expect(first!.lastSeenAt > first!.openedAt).toBe(true);
    await acknowledgeIncident(stores[0], { id: first!.id, note: 'looking' }, bob);
    await reportIncidents(stores[0], [report('again')], alice);
    expect(await allOf('again')).toMatchObject([{ occurrences: '3', status: 'ACKNOWLEDGED', acknowledgedBy: 'bob' }]);
    await closeIncident(stores[0], { id: first!.id, note: 'mended' }, bob);
    await reportIncidents(stores[0], [report('again')], alice);
    expect(await allOf('again')).toMatchObject([
      { occurrences: '1', status: 'OPEN' },
      { occurrences: '3', status: 'CLOSED' },
    ]);
  });

  test('is reported together with what else commits, or not at all', async () => {
    const failing = reportIncidents(stores[0], [report('all or nothing')], alice, {
      entries: [sampleEntry('beside')],
      alongside: async (client) => {
        await client.query('SELECT 1 / 0');
      },
    });
    await expect(failing).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await allOf('all or nothing')).toEqual([]);
  });
});

describe('the list of incidents', () => {
  test('is newest first, by page, and can be of those not closed', async () => {
    const { rows } = await readIncidents(pool, null, { first: 1_000 });
    const first = await readIncidents(pool, null, { first: 3 });
    expect(first.rows).toEqual(rows.slice(0, 3));
    expect(await first.hasPreviousPage()).toBe(false);
    expect(await first.hasNextPage()).toBe(true);
    expect(await first.totalCount()).toBe(rows.length);
    const after = Buffer.from(`incidents:${first.rows[2]!.number}`).toString('base64url');
    const second = await readIncidents(pool, null, { first: 1_000, after });
    expect(second.rows).toEqual(rows.slice(3));
    expect(await second.hasPreviousPage()).toBe(true);
    expect(await second.hasNextPage()).toBe(false);
    for (const open of [true, false]) {
      const page = await readIncidents(pool, open, { first: 1_000, after });
      expect(page.rows).toEqual(rows.slice(3).filter(({ status }) => (status !== 'CLOSED') === open));
      expect(await page.totalCount()).toBe(rows.filter(({ status }) => (status !== 'CLOSED') === open).length);
    }
  });

  test.each([
    ['a cursor of another list', { after: Buffer.from('integrity-checks:1').toString('base64url') }],
    ['what is no cursor', { after: '1' }],
    ['a negative size', { first: -1 }],
    ['too large a size', { first: 1_001 }],
  ])('refuses %s', async (_, page) => {
    await expect(readIncidents(pool, null, page)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });
});
