import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { withConnection } from '../../src/db/admin-connection.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { adminKey, callGraphql, signalInput, startTestService, type TestService } from '../support/test-service.js';

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

/** Entries that calls left after index `from`, as the database has them the moment the response is here. */
async function entriesSince(from: number): Promise<any[]> {
  return withConnection(service.database.urls.auditor, async (client) => {
    const { rows } = await client.query(
      `SELECT event, actor, role, resource, outcome, request_id, ip_address, details::jsonb AS details, body
       FROM public.audit_entries WHERE chain_index >= $1 ORDER BY chain_index`,
      [from],
    );
    return rows;
  });
}

async function head(): Promise<number> {
  return (await entriesSince(0)).length;
}

test('every root field of a request leaves its entry before the response, aliases included', async () => {
  const from = await head();
  await service.call('{ a: viewer { name } b: viewer { name } signals(first: 1) { nodes { id } } }');
  const entries = await entriesSince(from);
  expect(entries.map(({ resource, outcome, actor, role }) => ({ resource, outcome, actor, role }))).toEqual(
    ['viewer', 'viewer', 'signals'].map((resource) => ({ resource, outcome: 'OK', actor: 'admin', role: 'ADMIN' })),
  );
});

test('refused calls leave their entries: no key, wrong role, bad document, bad input, unreadable body, unknown path', async () => {
  const analyst = await service.makeKey('ANALYST');
  const from = await head();
  await service.call('{ viewer { name } }', undefined, null);
  await service.call('{ auditEntries { totalCount } }', undefined, analyst);
  await service.call('{ nothing }');
  await service.call('{ signals(first: 5000) { nodes { id } } }');
  await fetch(`${service.url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' });
  await fetch(`${service.url}/nowhere`);
  expect((await entriesSince(from)).map(({ resource, outcome }) => `${resource} ${outcome}`)).toEqual([
    'viewer UNAUTHENTICATED',
    'auditEntries FORBIDDEN',
    'graphql GRAPHQL_VALIDATION_FAILED',
    expect.stringMatching(/^(signals BAD_USER_INPUT|graphql QUERY_TOO_COMPLEX)$/),
    '/graphql BAD_REQUEST',
    '/nowhere NOT_FOUND',
  ]);
});

test("a mutation's entry is in the transaction of its rows", async () => {
  const from = await head();
  await service.call('mutation ($input: CreateSignalInput!) { createSignal(input: $input) { replayed } }', {
    input: signalInput({ signalId: 'same-transaction' }),
  });
  const [created, call] = await entriesSince(from);
  expect([created.event, call.resource]).toEqual(['SignalCreated', 'createSignal']);
  const xids = await withConnection(service.database.urls.auditor, (client) =>
    client.query(
      `SELECT DISTINCT xid::text FROM public.audit_entries WHERE chain_index >= $1
                  UNION SELECT xid::text FROM public.signals WHERE signal_id = 'same-transaction'`,
      [from],
    ),
  );
  expect(xids.rowCount).toBe(1);
});

test('secrets in arguments, headers and document names appear nowhere in the database', async () => {
  const secrets = ['hunter2-very-secret', 'AKIAIOSFODNN7EXAMPLE', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk'];
  const from = await head();
  await fetch(`${service.url}/graphql?token=hunter2-very-secret`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${adminKey}`,
      'user-agent': `client token=${secrets[0] ?? ''}`,
    },
    body: JSON.stringify({
      query: 'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }',
      variables: {
        input: {
          events: [
            {
              alertSent: {
                alertType: 'AUTH',
                severity: 'ERROR',
                message: `key ${secrets[1] ?? ''} leaked, Bearer ${secrets[2] ?? ''}`,
              },
            },
            { configChanged: { configType: 'api-password', oldValue: 'old-hunter2', newValue: 'hunter2-very-secret' } },
          ],
        },
      },
    }),
  });
  const text = JSON.stringify(await entriesSince(from));
  for (const secret of [...secrets, 'old-hunter2', adminKey]) expect(text).not.toContain(secret);
  expect(text).toContain('[redacted ');
});

test('roles are enforced per field, also for fields of a signal', async () => {
  const analyst = await service.makeKey('ANALYST');
  const monitor = await service.makeKey('MONITOR');
  const codes = async (key: string) => {
    const calls = [
      ['{ signals(first: 1) { nodes { id } } }'],
      ['{ signals(first: 1) { nodes { auditEntries { totalCount } } } }'],
      ['{ auditEntries(first: 1) { nodes { id } } }'],
      ['{ apiKeys { id } }'],
      ['mutation ($input: CreateSignalInput!) { createSignal(input: $input) { replayed } }', { input: signalInput() }],
    ] as const;
    const answers = [];
    for (const [query, variables] of calls) {
      answers.push((await service.call(query, variables, key)).errors?.[0]?.extensions.code ?? 'OK');
    }
    return answers;
  };
  expect(await codes(analyst)).toEqual(['OK', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
  expect(await codes(monitor)).toEqual(['OK', 'OK', 'OK', 'FORBIDDEN', 'FORBIDDEN']);
});

test('a key is shown once, listed by its prefix, refused once revoked, and both are on the record', async () => {
  const from = await head();
  const made = await service.call(
    'mutation { createApiKey(input: { name: "temporary", role: ANALYST }) { secret apiKey { id prefix } } }',
  );
  const { secret, apiKey } = made.data?.createApiKey as { secret: string; apiKey: { id: string; prefix: string } };
  expect(secret.startsWith(apiKey.prefix)).toBe(true);
  expect((await service.call('{ viewer { name } }', undefined, secret)).data?.viewer).toEqual({ name: 'temporary' });
  await service.call('mutation ($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { apiKey { revokedAt } } }', {
    input: { id: apiKey.id },
  });
  expect((await service.call('{ viewer { name } }', undefined, secret)).errors?.[0]?.extensions.code).toBe(
    'UNAUTHENTICATED',
  );
  const entries = await entriesSince(from);
  expect(entries.map(({ event }) => event)).toEqual(expect.arrayContaining(['ApiKeyCreated', 'ApiKeyRevoked']));
  expect(JSON.stringify(entries)).not.toContain(secret);
});

test('without a key the schema is not readable', async () => {
  const answer = await callGraphql(service.url, '{ __schema { queryType { name } } }', undefined, null);
  expect(answer.errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
});

test('a response whose entry cannot be written is withheld', async () => {
  const { rows } = await withConnection(service.database.urls.superuser, async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT daybook.lock_ledger()');
    const pending = service.call('{ viewer { name } }');
    const settled = await Promise.race([
      pending.then(() => 'answered'),
      new Promise((r) => setTimeout(r, 300, 'waiting')),
    ]);
    expect(settled).toBe('waiting');
    await client.query('COMMIT');
    expect((await pending).data?.viewer).toEqual({ name: 'admin' });
    return client.query('SELECT 1');
  });
  expect(rows).toHaveLength(1);
});
