import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { asIntruder } from '../support/integrity-baseline.js';
import { openSession } from '../support/sql-session.js';
import { signalInput, startTestService, type TestService } from '../support/test-service.js';

let service: TestService;
let keys: Record<'PRODUCER' | 'ANALYST' | 'MONITOR' | 'AUDITOR', string>;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  keys = {
    PRODUCER: await service.makeKey('PRODUCER'),
    ANALYST: await service.makeKey('ANALYST'),
    MONITOR: await service.makeKey('MONITOR'),
    AUDITOR: await service.makeKey('AUDITOR'),
  };
  await service.call('mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }', {
    input: signalInput(),
  });
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

const runCheck = `mutation ($input: RunIntegrityCheckInput!) { runIntegrityCheck(input: $input) { check {
  id kind requestedBy startedAt endedAt durationMs entriesChecked result failedVerifications error
  ranges { area first last checked } breaks { area code index message } } } }`;
const incidentFields = `id kind title details openedBy occurrences status acknowledgedBy acknowledgementNote closedBy
  closingNote`;
const open = `mutation ($title: String!, $note: String) {
  openIncident(input: { title: $title, note: $note }) { incident { ${incidentFields} } } }`;
const acknowledge = `mutation ($id: ID!, $note: String!) {
  acknowledgeIncident(input: { id: $id, note: $note }) { incident { ${incidentFields} } } }`;
const close = `mutation ($id: ID!, $note: String!) {
  closeIncident(input: { id: $id, note: $note }) { incident { ${incidentFields} } } }`;

async function entriesAbout(resource: string): Promise<Record<string, unknown>[]> {
  await using auditor = await openSession(service.database.urls.auditor);
  return await auditor.run(
    `SELECT event, actor, outcome, xid::text AS xid FROM public.audit_entries
     WHERE xid = (SELECT xid FROM public.audit_entries WHERE resource = $1 ORDER BY chain_index DESC LIMIT 1)
     ORDER BY chain_index`,
    [resource],
  );
}

describe('a check over the API', () => {
  test('of every entry answers with what is recorded, in the transaction of its own call', async () => {
    const { data, errors } = await service.call(runCheck, { input: { kind: 'FULL' } }, keys.AUDITOR);
    expect(errors).toBeUndefined();
    const check = data!.runIntegrityCheck.check;
    expect(check).toMatchObject({
      kind: 'FULL',
      requestedBy: expect.stringContaining('auditor') as unknown,
      result: 'OK',
      failedVerifications: '0',
      breaks: [],
      error: null,
    });
    expect(check.ranges.map(({ area }: { area: string }) => area)).toEqual(['AUDIT', 'SIGNALS']);
    const entries = await entriesAbout(`integrity-check/${check.id}`);
    expect(entries).toMatchObject([
      { event: 'IntegrityChecked', outcome: 'OK' },
      { event: 'ApiCall', outcome: 'OK' },
    ]);
    const listed = await service.call('{ integrityChecks(first: 1) { totalCount nodes { id } edges { cursor } } }');
    expect(listed.data!.integrityChecks.nodes).toEqual([{ id: check.id }]);
    expect(listed.data!.integrityChecks.totalCount).toBeGreaterThanOrEqual(1);
  });

  test('that fails opens an incident, which goes through acknowledgement to its end', async () => {
    await using superuser = await openSession(service.database.urls.superuser, asIntruder);
    await superuser.run('ALTER TABLE public.signals ADD CONSTRAINT smuggled CHECK (true)');
    const failing = await service.call(runCheck, { input: { kind: 'FULL' } });
    expect(failing.data!.runIntegrityCheck.check).toMatchObject({
      result: 'FAILED',
      breaks: [
        { area: 'CATALOGUE', code: 'TABLE_CHANGED', index: null },
        {
          area: 'CATALOGUE',
          code: 'TABLE_CHANGED',
          message: expect.stringContaining('smuggled: was added') as unknown,
        },
      ],
    });
    const listed = await service.call(`{ incidents(open: true) { nodes { ${incidentFields} } } }`, {}, keys.MONITOR);
    const [incident] = listed.data!.incidents.nodes;
    expect(incident).toMatchObject({
      kind: 'INTEGRITY',
      status: 'OPEN',
      occurrences: '1',
      details: { latestCheck: failing.data!.runIntegrityCheck.check.id },
    });
    const { id } = incident;
    const acknowledged = await service.call(acknowledge, { id, note: 'I look' }, keys.MONITOR);
    expect(acknowledged.data!.acknowledgeIncident.incident).toMatchObject({
      status: 'ACKNOWLEDGED',
      acknowledgedBy: expect.stringContaining('monitor') as unknown,
    });
    expect((await service.call(acknowledge, { id, note: 'me too' })).errors).toMatchObject([
      { extensions: { code: 'INCIDENT_STATE', retryable: false } },
    ]);
    const closed = await service.call(close, { id, note: 'a planned change' });
    expect(closed.data!.closeIncident.incident).toMatchObject({ status: 'CLOSED', closedBy: 'admin' });
    expect(await entriesAbout(`incident/${id}`)).toMatchObject([{ event: 'IncidentClosed' }, { event: 'ApiCall' }]);
    const left = await service.call('{ incidents(open: true) { nodes { id } } }');
    expect(left.data!.incidents.nodes).toEqual([]);
    await superuser.run('ALTER TABLE public.signals DROP CONSTRAINT smuggled');
  });

  test('refuses a sample of unusable size', async () => {
    const { errors } = await service.call(runCheck, { input: { sampleSize: 0 } });
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
  });
});

test('an operator opens an incident', async () => {
  const { data } = await service.call(open, { title: 'the feed stands still', note: 'since noon' }, keys.AUDITOR);
  expect(data!.openIncident.incident).toMatchObject({
    kind: 'OPERATOR',
    title: 'the feed stands still',
    details: { note: 'since noon' },
    status: 'OPEN',
  });
  const { id } = data!.openIncident.incident;
  const closed = await service.call(close, { id, note: 'a cable' });
  expect(closed.data!.closeIncident.incident).toMatchObject({ acknowledgementNote: 'a cable', closingNote: 'a cable' });
});

test.each([
  ['MONITOR', 'runIntegrityCheck', runCheck, { input: { kind: 'RECENT' } }],
  ['PRODUCER', 'runIntegrityCheck', runCheck, { input: { kind: 'RECENT' } }],
  ['PRODUCER', 'integrityChecks', '{ integrityChecks { nodes { id } } }', {}],
  ['ANALYST', 'incidents', '{ incidents { nodes { id } } }', {}],
  ['ANALYST', 'openIncident', open, { title: 'x' }],
  ['PRODUCER', 'acknowledgeIncident', acknowledge, { id: 'x', note: 'x' }],
  ['PRODUCER', 'closeIncident', close, { id: 'x', note: 'x' }],
] as const)('the role %s may not use %s', async (role, _, query, variables) => {
  const { errors } = await service.call(query, variables, keys[role]);
  expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
});
