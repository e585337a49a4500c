import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parquetReadObjects } from 'hyparquet';
import { z } from 'zod';
import { errorCatalogue } from '../../src/errors.js';
import { auditLogColumns } from '../../src/exports/audit-columns.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, openSession, type SqlSession } from '../support/sql-session.js';
import { adminKey, startTestService, type TestService } from '../support/test-service.js';

/** Spread over three days, actors and kinds; times are set by the database, so days are asked for by what it set. */
const events = [
  { orderAccepted: { symbol: 'AAPL', side: 'BUY', quantity: '1', orderId: 'o-1', signalId: 'sig-1' } },
  { orderAccepted: { symbol: 'AAPL', side: 'SELL', quantity: '2', orderId: 'o-2' } },
  { login: { user: 'ada', succeeded: true } },
  { login: { user: 'eve', succeeded: false, message: '=cmd|calc' } },
  { configChanged: { configType: 'limits', oldValue: '1', newValue: '2', message: 'raised, "by hand"\r\nat noon' } },
];

let service: TestService;
let session: SqlSession;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  session = await openSession(service.database.urls.auditor);
  await service.call(
    'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }',
    { input: { events } },
    await service.makeKey('PRODUCER'),
  );
  await using writer = await openSession(service.database.urls.application);
  await writer.run(insertEntriesSql(60));
  await service.call('{ viewer { name } signals(after: "nothing") { nodes { id } } }');
});

afterAll(async () => {
  await session[Symbol.asyncDispose]();
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

async function get(path: string, key: string | null = adminKey): Promise<Response> {
  return fetch(`${service.url}${path}`, key === null ? {} : { headers: { authorization: `Bearer ${key}` } });
}

async function json(path: string): Promise<any> {
  return (await get(path)).json();
}

/** Ids of the entries that a condition in SQL finds among those up to `asOf`, newest first. */
async function idsBySql(condition: string, asOf: string): Promise<string[]> {
  const rows = await session.run(
    `SELECT id FROM audit_entries WHERE chain_index <= ${asOf} AND ${condition} ORDER BY chain_index DESC`,
  );
  return rows.map(({ id }) => String(id));
}

async function lastCall(): Promise<any> {
  const [row] = await session.run(
    `SELECT resource, outcome, details::jsonb AS details FROM audit_entries
     WHERE event = 'ApiCall' ORDER BY chain_index DESC LIMIT 1`,
  );
  return row;
}

describe('GET /audit/logs', () => {
  test('answers in the shape that scripts expect, newest first, fifty entries a page', async () => {
    const answer = await json('/audit/logs');
    expect(answer).toMatchObject({ page: 1, limit: 50, pages: Math.ceil(answer.total / 50), filter: {} });
    expect(answer.logs).toHaveLength(50);
    expect(Object.keys(answer.logs[0])).toEqual(auditLogColumns.map(({ name }) => name));
    expect(Object.keys(answer.logs[0]).slice(0, 10).join()).toBe(
      'id,userId,action,resource,method,statusCode,ipAddress,userAgent,requestData,createdAt',
    );
    expect(answer.logs.map(({ id }: any) => id)).toEqual((await idsBySql('true', answer.asOf)).slice(0, 50));
    expect(answer.total).toBe((await idsBySql('true', answer.asOf)).length);
  });

  test('gives each entry once over all pages while the log grows, with the asOf of the first page', async () => {
    const first = await json('/audit/logs?limit=7');
    const seen = first.logs.map(({ id }: any) => id);
    for (let page = 2; page <= first.pages; page += 1) {
      await service.call('{ viewer { name } }');
      const next = await json(`/audit/logs?limit=7&page=${page}&asOf=${first.asOf}`);
      expect(next).toMatchObject({ page, pages: first.pages, total: first.total, asOf: first.asOf });
      seen.push(...next.logs.map(({ id }: any) => id));
    }
    expect(seen).toEqual(await idsBySql('true', first.asOf));
    expect((await json(`/audit/logs?limit=7&page=${first.pages + 1}&asOf=${first.asOf}`)).logs).toEqual([]);
  });

  test('takes method, status and request data of a call from its details, and of an event from the event', async () => {
    await get('/audit/logs/unknown?x=1');
    const byResource = async (resource: string) => (await json(`/audit/logs?resource=${resource}&limit=1`)).logs[0];
    expect(await byResource('viewer')).toMatchObject({ method: 'POST', statusCode: 200, requestData: {} });
    expect(await byResource('signals')).toMatchObject({ statusCode: 400, outcome: 'BAD_USER_INPUT' });
    expect(await byResource('/audit/logs/unknown')).toMatchObject({ method: 'GET', statusCode: 400 });
    expect(await byResource('AAPL')).toMatchObject({
      method: null,
      statusCode: 200,
      requestData: { symbol: 'AAPL', orderId: 'o-2' },
    });
    expect(await byResource('eve')).toMatchObject({ outcome: 'LOGIN_FAILED', statusCode: null, action: 'LOGIN' });
    const last = await byResource('/audit/logs');
    expect(last).toMatchObject({ method: 'GET', statusCode: 200, requestData: { resource: 'eve', limit: '1' } });
  });

  test('filters by every parameter as the same condition in SQL does', async () => {
    const [{ day, at, request, session_id: sessionId }] = (await session.run(
      `SELECT to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, request_id AS request, session_id,
         to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
       FROM audit_entries WHERE resource = 'eve'`,
    )) as [Record<string, string>];
    const before = new Date(Date.parse(`${day}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
    const cases: [string, string][] = [
      ['userId=admin', "actor = 'admin'"],
      ['action=LOGIN', "action = 'LOGIN'"],
      ['resource=order%201', "resource ^@ 'order 1'"],
      ['resource=%25', "resource ^@ '%'"],
      [`startDate=${day}`, `recorded_at >= '${day}Z'`],
      [`endDate=${day}`, 'true'],
      [`endDate=${before}`, 'false'],
      [`startDate=${at}`, `recorded_at >= '${at}'`],
      [`startDate=${at}&endDate=${at}`, `recorded_at = '${at}'`],
      [`endDate=${encodeURIComponent(at!.replace('Z', '+00:00'))}`, `recorded_at <= '${at}'`],
      ['category=AUTH', "category = 'AUTH'"],
      ['event=OrderAccepted', "event = 'OrderAccepted'"],
      ['outcome=LOGIN_FAILED', "outcome = 'LOGIN_FAILED'"],
      ['ipAddress=127.0.0.1', "ip_address = '127.0.0.1'"],
      [`requestId=${request}`, `request_id = '${request}'`],
      [`sessionId=${encodeURIComponent(sessionId!)}`, `session_id = '${sessionId}'`],
      ['signalId=sig-1', "signal_id = 'sig-1'"],
      ['text=by%20hand', "details::text ILIKE '%by hand%'"],
      ['category=AUTH&outcome=OK&userId=nobody', 'false'],
    ];
    for (const [query, condition] of cases) {
      const answer = await json(`/audit/logs?limit=1000&${query}`);
      const found = (answer.logs as { id: string }[]).map(({ id }) => id);
      expect([query, found]).toEqual([query, await idsBySql(condition, answer.asOf)]);
      expect(answer.total).toBe(found.length);
    }
  });

  test('is also given as csv, jsonl and parquet, with what JSON says of itself in the headers', async () => {
    const answer = await json('/audit/logs?category=ORDER&limit=3&page=2');
    for (const format of ['csv', 'jsonl', 'parquet']) {
      const file = await get(`/audit/logs?category=ORDER&limit=3&page=2&asOf=${answer.asOf}&format=${format}`);
      expect(file.headers.get('daybook-total')).toBe(String(answer.total));
      expect(file.headers.get('daybook-page')).toBe('2');
      expect(file.headers.get('daybook-last-index')).toBe(answer.lastIndex);
      expect(JSON.parse(file.headers.get('daybook-filter') ?? '')).toEqual({ category: 'ORDER' });
      expect(file.headers.get('content-disposition')).toContain(`.${format}"`);
      const bytes = new Uint8Array(await file.arrayBuffer());
      // A parquet file's texts are compressed: an id that shares four characters with another is not there as a whole.
      const ids =
        format === 'parquet'
          ? (await parquetReadObjects({ file: bytes.buffer })).map((row) => row['id'])
          : Buffer.from(bytes).toString();
      for (const { id } of answer.logs) expect(ids).toContain(id);
    }
    expect((await lastCall()).details).toMatchObject({ entries: 3, format: 'parquet', statusCode: 200 });
  });
});

describe('GET /audit/logs/{id}', () => {
  test('gives the entry by its id or its index, and NOT_FOUND for what there is not', async () => {
    const { logs } = await json('/audit/logs?limit=1');
    expect(await json(`/audit/logs/${logs[0].id}`)).toEqual(logs[0]);
    expect(await json(`/audit/logs/${logs[0].chainIndex}`)).toEqual(logs[0]);
    for (const id of ['999999999999999999', '00000000-0000-4000-8000-000000000000', 'x', '1e3', "'--"]) {
      const answer = await get(`/audit/logs/${encodeURIComponent(id)}`);
      expect([id, answer.status, ((await answer.json()) as any).error.code]).toEqual([id, 404, 'NOT_FOUND']);
    }
  });
});

describe('GET /audit/stats', () => {
  test('answers in the shape that scripts expect, counted as SQL counts', async () => {
    const stats = await json('/audit/stats');
    const counted = async (column: string) =>
      Object.fromEntries(
        (
          await session.run(
            `SELECT ${column} AS key, count(*)::int AS count FROM audit_entries
             WHERE chain_index <= ${stats.asOf} AND ${column} IS NOT NULL GROUP BY 1`,
          )
        ).map(({ key, count }) => [String(key), count]),
      );
    expect(stats.totalLogs).toBe((await idsBySql('true', stats.asOf)).length);
    expect(stats.byAction).toEqual(await counted('action'));
    expect(stats.byUser).toEqual(await counted('actor'));
    expect(stats.byCategory).toEqual(await counted('category'));
    expect(stats.byOutcome).toEqual(await counted('outcome'));
    const resources = await counted('resource');
    expect(stats.topEndpoints.length).toBeGreaterThan(0);
    for (const { resource, count } of stats.topEndpoints) expect(resources[resource]).toBe(count);
    const filtered = await json('/audit/stats?category=AUTH');
    expect(filtered).toMatchObject({ totalLogs: 2, byAction: { LOGIN: 2 }, filter: { category: 'AUTH' } });
  });
});

describe('every path', () => {
  test('names the parameter that it does not take, and never repeats its value', async () => {
    const value = 'AKIAIOSFODNN7EXAMPLE';
    const cases: [string, string][] = [
      ['/audit/logs?user=x', 'user'],
      ['/audit/logs?__proto__=x', '__proto__'],
      ['/audit/logs?page=0', 'page'],
      ['/audit/logs?page=1.5', 'page'],
      ['/audit/logs?page=-1', 'page'],
      ['/audit/logs?limit=0', 'limit'],
      ['/audit/logs?limit=1001', 'limit'],
      ['/audit/logs?limit=1e3', 'limit'],
      ['/audit/logs?limit=', 'limit'],
      ['/audit/logs?limit=1&limit=2', 'limit'],
      ['/audit/logs?userId=', 'userId'],
      ['/audit/logs?userId=a%00b', 'userId'],
      [`/audit/logs?action=${value}`, 'action'],
      ['/audit/logs?action=login', 'action'],
      [`/audit/logs?category=${value}`, 'category'],
      [`/audit/logs?startDate=${value}`, 'startDate'],
      ['/audit/logs?startDate=2026-02-30', 'startDate'],
      ['/audit/logs?endDate=2026-11-20T25:00:00Z', 'endDate'],
      ['/audit/logs?endDate=2026-11-20T10:00:00', 'endDate'],
      ['/audit/logs?startDate=2026-11-21&endDate=2026-11-20', 'endDate'],
      ['/audit/logs?asOf=999999999', 'asOf'],
      ['/audit/logs?asOf=-1', 'asOf'],
      ['/audit/logs?format=xml', 'format'],
      ['/audit/logs?format=json&spreadsheet=true', 'spreadsheet'],
      ['/audit/export?page=1', 'page'],
      ['/audit/export?spreadsheet=yes', 'spreadsheet'],
      ['/audit/export?format=json&spreadsheet=true', 'spreadsheet'],
      ['/audit/stats?limit=5', 'limit'],
      ['/audit/logs/1?format=csv', 'format'],
      [`/audit/openapi.json?${value}=1`, 'parameter'],
      [`/audit/logs?userId=${'x'.repeat(201)}`, 'userId'],
      [`/audit/logs?resource=${'x'.repeat(1_001)}`, 'resource'],
      [`/audit/export?${'x'.repeat(2_000)}=1`, 'query'],
    ];
    for (const [path, name] of cases) {
      const answer = await get(path);
      const { error } = (await answer.json()) as any;
      expect([path, answer.status, error.code]).toEqual([path, 400, 'BAD_USER_INPUT']);
      expect([path, error.message]).toEqual([path, expect.stringContaining(name)]);
      expect(error.message).not.toContain(value);
      expect(await lastCall()).toMatchObject({ outcome: 'BAD_USER_INPUT', details: { statusCode: 400 } });
    }
    const held = await session.run(`SELECT FROM audit_entries WHERE body LIKE '%${value}%'`);
    expect(held).toEqual([]);
  });

  test('takes a key that may read the audit log, and leaves an entry either way', async () => {
    const [analyst, monitor] = [await service.makeKey('ANALYST'), await service.makeKey('MONITOR')];
    for (const path of ['/audit/logs', '/audit/logs/0', '/audit/stats', '/audit/export', '/audit/openapi.json']) {
      for (const [key, status, outcome] of [
        [null, 401, 'UNAUTHENTICATED'],
        [analyst, 403, 'FORBIDDEN'],
        [monitor, 200, 'OK'],
      ] as const) {
        const answer = await get(path, key);
        await answer.arrayBuffer();
        expect([path, answer.status]).toEqual([path, status]);
        expect(await lastCall()).toMatchObject({ resource: path, outcome, details: { statusCode: status } });
      }
    }
    expect((await get('/audit/nothing')).status).toBe(404);
  });
});

describe('GET /audit/openapi.json', () => {
  const code = z.enum(Object.keys(errorCatalogue) as [string, ...string[]]);
  /** The objects of OpenAPI 3.1 that the document is made of, with the fields that the specification requires. */
  const schemaObject = z.record(z.string(), z.unknown());
  const media = z.record(z.string().regex(/^[a-z]+\/[a-z.]+$/), z.strictObject({ schema: schemaObject.optional() }));
  const parameter = z.strictObject({
    name: z.string().min(1),
    in: z.enum(['query', 'path']),
    required: z.boolean(),
    description: z.string().min(10).optional(),
    schema: schemaObject,
  });
  const operation = z.strictObject({
    operationId: z.string().min(1),
    summary: z.string().min(1),
    parameters: z.array(parameter),
    responses: z.record(
      z.string().regex(/^([1-5]\d\d|default)$/),
      z.strictObject({ description: z.string().min(1), content: media }),
    ),
  });
  const openapi = z.strictObject({
    openapi: z.string().regex(/^3\.1\.\d+$/),
    info: z.strictObject({ title: z.string(), version: z.string(), description: z.string() }),
    security: z.array(z.record(z.string(), z.array(z.string()))),
    paths: z.record(z.string().startsWith('/'), z.strictObject({ get: operation })),
    components: z.strictObject({
      securitySchemes: z.record(
        z.string(),
        z.strictObject({ type: z.literal('http'), scheme: z.literal('bearer'), description: z.string() }),
      ),
      schemas: z.record(z.string(), schemaObject),
    }),
  });

  /** A check made from the document alone, references followed. */
  function checkOf(document: any, name: string): z.ZodType {
    const $defs = JSON.parse(
      JSON.stringify(document.components.schemas).replaceAll('#/components/schemas/', '#/$defs/'),
    );
    return z.fromJSONSchema({ ...$defs[name], $defs });
  }

  test('is an OpenAPI 3.1 document without dangling references, one operation a path', async () => {
    const document = openapi.parse(await json('/audit/openapi.json'));
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, target]) => target);
    expect(references.length).toBeGreaterThan(5);
    for (const target of references) {
      expect(Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`)).toContain(target);
    }
    const operations = Object.values(document.paths).map(({ get: { operationId } }) => operationId);
    expect(new Set(operations).size).toBe(operations.length);
    for (const [path, { get: described }] of Object.entries(document.paths)) {
      const inPath = described.parameters.filter(({ in: place }) => place === 'path').map(({ name }) => `{${name}}`);
      expect(path.match(/\{\w+\}/g) ?? []).toEqual(inPath);
      expect(Object.keys(document.components.securitySchemes)).toEqual(Object.keys(document.security[0] ?? {}));
    }
  });

  test('names exactly the parameters that are taken, with their defaults and bounds', async () => {
    const document = openapi.parse(await json('/audit/openapi.json'));
    const sample: Record<string, string> = {
      startDate: '2026-11-20',
      endDate: '9999-12-31',
      asOf: '0',
      page: '1',
      limit: '1',
    };
    for (const [path, { get: described }] of Object.entries(document.paths)) {
      const url = path.replace('{id}', '0');
      for (const { name, in: place, schema } of described.parameters) {
        if (place === 'path') continue;
        const value =
          sample[name] ?? (schema.enum as string[] | undefined)?.[0] ?? (schema.type === 'boolean' ? 'false' : 'x');
        const answer = await get(`${url}?${name}=${encodeURIComponent(value)}`);
        await answer.arrayBuffer();
        expect([path, name, answer.status]).toEqual([path, name, 200]);
      }
      expect((await get(`${url}?other=1`)).status).toBe(400);
    }
    const ofList = Object.fromEntries(
      document.paths['/audit/logs']!.get.parameters.map(({ name, schema }) => [name, schema]),
    );
    expect(ofList.limit).toMatchObject({ type: 'integer', minimum: 1, maximum: 1000, default: 50 });
    expect(ofList.page).toMatchObject({ type: 'integer', minimum: 1, default: 1 });
    expect(ofList.format).toMatchObject({ enum: ['csv', 'json', 'jsonl', 'parquet'], default: 'json' });
  });

  test('describes what is answered: each answer passes the schema that the document gives for it', async () => {
    const document = await json('/audit/openapi.json');
    const answers: [string, string][] = [
      ['/audit/logs?limit=1000', 'AuditLogList'],
      ['/audit/logs?userId=nobody', 'AuditLogList'],
      ['/audit/logs/0', 'AuditLog'],
      ['/audit/stats', 'AuditStats'],
      ['/audit/export?format=json', 'AuditLogExport'],
      ['/audit/logs?page=0', 'Error'],
    ];
    for (const [path, name] of answers) {
      const parsed = checkOf(document, name).safeParse(await json(path));
      expect([path, parsed.error?.issues ?? []]).toEqual([path, []]);
      expect(checkOf(document, name).safeParse({ unexpected: true }).success).toBe(false);
    }
    expect(code.safeParse((await json('/audit/logs?page=0')).error.code).success).toBe(true);
  });
});
