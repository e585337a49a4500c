import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { GraphQLField } from 'graphql';
import { buildDaybookSchema } from '../../src/schema.js';
import { createDataFolder } from '../support/data-folder.js';
import { dumpDatabase, findTexts } from '../support/find-texts.js';
import {
  callWithLiterals,
  callWithVariables,
  generateArguments,
  isText,
  withValueAt,
  type InputValues,
} from '../support/generated-calls.js';
import { drawSecrets, type SampleSecret } from '../support/sample-secrets.js';
import { startServiceProcess, type ServiceProcess } from '../support/service-process.js';
import { SocketClient } from '../support/socket-client.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, type Answer } from '../support/test-service.js';

/** Calls at a time; the service's queue holds many more. */
const callersMax = 8;
/** Shapes sent into places that take no free text: GraphQL refuses them, and what it says is looked at. */
const shapesForForms = 4;

const schema = buildDaybookSchema();
const mutations = Object.values(schema.getMutationType()?.getFields() ?? {});
const queries = Object.values(schema.getQueryType()?.getFields() ?? {});

let stack: AsyncDisposableStack;
let service: ServiceProcess;
let url: string;
let dataDir: string;
let seen: string;
let postgresPort: number;
/** Every plain value that was sent, with where it was sent. */
const sent = new Map<string, string>();
/** No secret: stored as it is sent, and found wherever secrets would be. */
const control = `control ${randomUUID()}`;
/** Everything that the service answered. */
const answers: string[] = [];

beforeAll(async () => {
  await using opening = new AsyncDisposableStack();
  dataDir = opening.use(await createDataFolder()).path;
  const looked = opening.use(await createDataFolder()).path;
  seen = join(looked, 'seen');
  await mkdir(seen, { recursive: true });
  const port = await findFreePort();
  postgresPort = await findFreePort();
  url = `http://127.0.0.1:${port}`;
  service = opening.use(
    await startServiceProcess({
      DAYBOOK_PORT: String(port),
      DAYBOOK_POSTGRES_PORT: String(postgresPort),
      DAYBOOK_DATA_DIR: dataDir,
      DAYBOOK_ADMIN_KEY: adminKey,
      DAYBOOK_LOG_LEVEL: 'trace',
      DAYBOOK_TRUST_PROXY: '1',
      DAYBOOK_PUBLISH_SECONDS: '0.5',
      // Old files would be compressed, and what is in them not found.
      DAYBOOK_LOG_GZIP: 'off',
    }),
  );
  stack = opening.move();
});

afterAll(() => stack.disposeAsync());

/** Fresh secrets for one place, so that what is found says where it came in. */
function secretsFor(place: string): SampleSecret[] {
  const secrets = drawSecrets();
  for (const { shape, plain } of secrets) sent.set(plain, `${shape} in ${place}`);
  return secrets;
}

async function call(query: string, variables?: Record<string, unknown>, key?: string | null): Promise<Answer> {
  const answer = await callGraphql(url, query, variables, key);
  answers.push(JSON.stringify(answer));
  return answer;
}

/** Runs the calls, some at a time. */
async function callAll(calls: readonly (() => Promise<unknown>)[]): Promise<void> {
  const waiting = calls.values();
  const caller = async () => {
    for (const each of waiting) await each();
  };
  await Promise.all(Array.from({ length: callersMax }, caller));
}

async function openIncident(): Promise<InputValues> {
  const opened = await call('mutation { openIncident(input: { title: "generated" }) { incident { id } } }');
  return { id: opened.data?.openIncident.incident.id };
}

let names = 0;
const freshName = () => `generated-${(names += 1)}`;

/** What generated arguments need beyond their types for a mutation to succeed; made anew for each call. */
const prepared: Readonly<Record<string, () => Promise<InputValues>>> = {
  acknowledgeIncident: openIncident,
  closeIncident: openIncident,
  createApiKey: () => Promise.resolve({ name: freshName(), expiresAt: undefined }),
  createExportPack: () => Promise.resolve({ date: new Date().toISOString().slice(0, 10) }),
  createSignal: () => Promise.resolve({ signalId: undefined }),
  createSignals: () => Promise.resolve({ signalId: undefined }),
  replaySink: () => Promise.resolve({ name: 'jsonl', from: '0' }),
  revokeApiKey: async () => {
    const made = await call(
      'mutation ($name: String!) { createApiKey(input: { name: $name, role: ANALYST }) { apiKey { id } } }',
      { name: freshName() },
    );
    return { id: made.data?.createApiKey.apiKey.id };
  },
};

/** Left away where a call is to succeed: they refer to what must be there, or make calls equal. */
const leftAway: InputValues = { idempotencyKey: undefined, supersedes: undefined };

async function argumentsFor(field: GraphQLField<unknown, unknown>) {
  return generateArguments(field, { ...leftAway, ...(await prepared[field.name]?.()) });
}

test('the mutations of the schema succeed with generated arguments, so that what they are sent is stored', async () => {
  expect(mutations.length).toBeGreaterThan(10);
  for (const field of mutations) {
    const variants = (await argumentsFor(field)).length;
    for (let variant = 0; variant < variants; variant += 1) {
      const { args = {} } = (await argumentsFor(field))[variant] ?? {};
      const answer = await call(callWithVariables('mutation', field), args);
      expect({ field: field.name, variant, errors: answer.errors }).toEqual({ field: field.name, variant });
    }
  }
});

test('what looks for secrets finds what is not one: a control text is stored as it was sent', async () => {
  await call('mutation ($title: String!) { openIncident(input: { title: $title }) { incident { id } } }', {
    title: control,
  });
  await collect('control');
  expect(await findTexts([control], join(seen, 'control'))).toEqual([control]);
});

test.each(mutations)(
  'secrets are sent into every input of $name',
  async (field) => {
    const sets = await argumentsFor(field);
    const calls = sets.flatMap(({ leaves }, variant) =>
      leaves.flatMap((leaf, number) => {
        const secrets = secretsFor(`${field.name} ${leaf.join('.')}`);
        // Inputs that take one of many share their members: there the shapes take turns.
        const turns = sets.length > 1 ? secrets.filter((_, place) => (place + number + variant) % 3 === 0) : secrets;
        const chosen = isText(schema, field, leaf) ? turns : turns.slice(0, shapesForForms);
        return chosen.map(({ text }, place) => async () => {
          const { args = {} } = (await argumentsFor(field))[variant] ?? {};
          const withSecret = withValueAt(args, leaf, text);
          if (place % 2 === 0) await call(callWithVariables('mutation', field), withSecret);
          else await call(callWithLiterals('mutation', field, withSecret));
        });
      }),
    );
    expect(calls.length).toBeGreaterThan(0);
    await callAll(calls);
  },
  240_000,
);

test('secrets are sent into every input of the queries', async () => {
  const calls = queries.flatMap((field) =>
    generateArguments(field, { last: undefined, before: undefined, after: undefined }).flatMap(({ args, leaves }) =>
      leaves.flatMap((leaf, number) => {
        const secrets = secretsFor(`${field.name} ${leaf.join('.')}`);
        return [...secrets.keys()]
          .filter((place) => (place + number) % 9 === 0)
          .map((place) => () => {
            const withSecret = withValueAt(args, leaf, secrets[place]?.text);
            return place % 2 === 0
              ? call(callWithVariables('query', field), withSecret)
              : call(callWithLiterals('query', field, withSecret));
          });
      }),
    ),
  );
  await callAll(calls);
}, 240_000);

interface SendOptions {
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** Whether the answer is looked through; yes where nothing is said. */
  readonly isKept?: boolean;
}

/** A request as it is, also with what fetch would refuse to send. */
async function send(path: string, options: SendOptions = {}): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const sending = request(url + path, {
    method: options.body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json', ...options.headers },
  });
  sending.on('error', reject).on('response', (response) => {
    response.on('data', (chunk) => options.isKept !== false && answers.push(String(chunk)));
    response.on('error', reject).on('end', resolve);
  });
  sending.end(options.body);
  await promise;
}

const viewer = JSON.stringify({ query: '{ viewer { name } }' });
const headers = [
  'user-agent',
  'x-request-id',
  'x-session-id',
  'x-forwarded-for',
  'cookie',
  'referer',
  'origin',
  'authorization',
  'content-encoding',
  'x-api-key',
];

test.each(headers)('secrets are sent in the header %s', async (header) => {
  const secrets = secretsFor(`the header ${header}`);
  // What a header can hold: no line breaks.
  const texts = secrets.flatMap(({ text, bare }) => [text.replaceAll('\n', ' '), ...(bare === null ? [] : [bare])]);
  await callAll(
    texts.flatMap((text) => [
      () => send('/graphql', { headers: { [header]: text }, body: viewer }),
      () => send('/nowhere', { headers: { [header]: text } }),
      () => send('/audit/logs?limit=1', { headers: { [header]: text } }),
    ]),
  );
});

const paths: readonly ((encoded: string) => string)[] = [
  (encoded) => `/graphql?query=%7Bviewer%7Bname%7D%7D&x=${encoded}`,
  (encoded) => `/graphql?query=${encoded}`,
  (encoded) => `/graphql?query=%7Bviewer%7Bname%7D%7D&operationName=${encoded}`,
  (encoded) => `/graphql/${encoded}`,
  (encoded) => `/${encoded}`,
  (encoded) => `/a/${encoded}/b?c=${encoded}`,
  (encoded) => `/a?${encoded}`,
  (encoded) => `/audit/logs?text=${encoded}`,
  (encoded) => `/audit/logs?userId=${encoded}&resource=${encoded}&action=${encoded}`,
  (encoded) => `/audit/logs?${encoded}=1`,
  (encoded) => `/audit/logs/${encoded}`,
  (encoded) => `/audit/stats?resource=${encoded}`,
  (encoded) => `/audit/export?format=csv&userId=${encoded}`,
  (encoded) => `/audit/export?format=json&resource=${encoded}`,
  (encoded) => `/audit/export?format=jsonl&sessionId=${encoded}`,
  (encoded) => `/audit/export?format=${encoded}`,
  (encoded) => `/packs/${encoded}`,
  (encoded) => `/logs/${encoded}/checkpoint`,
  (encoded) => `/logs/audit/proofs/${encoded}`,
  (encoded) => `/logs/audit/tile/entries/${encoded}`,
  (encoded) => `/health?x=${encoded}`,
  (encoded) => `/metrics?x=${encoded}`,
];

test.each(paths.map((path) => [path('<secret>'), path] as const))(
  'secrets are sent in the URL %s',
  async (name, path) => {
    const secrets = secretsFor(`the URL ${name}`);
    await callAll(
      secrets.flatMap(({ text, bare }) => [
        () => send(path(encodeURIComponent(text))),
        () => send(path(encodeURIComponent(encodeURIComponent(text)))),
        ...(bare === null ? [] : [() => send(path(encodeURIComponent(bare)))]),
      ]),
    );
  },
);

test('secrets are sent in documents, names of operations, bodies that are not JSON and values of other types', async () => {
  const secrets = secretsFor('a document');
  const post = (body: unknown, isKept = true) => send('/graphql', { body: JSON.stringify(body), isKept });
  await callAll(
    secrets.flatMap(({ text, bare }) => [
      () => post({ query: '{ viewer { name } }', operationName: text }),
      () => post({ query: text }),
      () => post({ query: `{ viewer { name(x: ${JSON.stringify(text)}) } }` }),
      () => post({ query: `{ signals(first: ${JSON.stringify(text)}) { nodes { id } } }` }),
      () => post({ query: `{ viewer { name } } # ${text.replaceAll('\n', ' ')}` }),
      () =>
        post({ query: 'query ($first: Int) { signals(first: $first) { nodes { id } } }', variables: { first: text } }),
      () =>
        post({ query: 'query ($first: Int) { signals(first: $first) { nodes { id } } }', variables: { other: text } }),
      () =>
        post({
          query: 'mutation ($i: SealLogInput!) { sealLog(input: $i) { __typename } }',
          variables: { i: { [text]: 1 } },
        }),
      () => post({ query: '{ viewer { name } }', extensions: { persistedQuery: { version: 1, sha256Hash: text } } }),
      () => send('/graphql', { body: `{"query": ${text}` }),
      () => send('/graphql', { body: JSON.stringify(text), headers: { 'content-type': 'text/plain' } }),
      ...(bare !== null && /^[_A-Za-z]\w*$/.test(bare)
        ? [
            () => post({ query: `query ${bare} { viewer { name } }`, operationName: bare }),
            // GraphQL answers under the alias, which nobody else gets to see.
            () => post({ query: `{ ${bare}: viewer { name } }` }, false),
            () => post({ query: `{ ${bare} }` }),
          ]
        : []),
    ]),
  );
});

test('secrets are sent over WebSockets: in payloads, documents, variables and filters of feeds', async () => {
  const socketUrl = `${url.replace('http', 'ws')}/graphql`;
  const secrets = secretsFor('a WebSocket');
  for (const { text } of secrets) {
    const refused = SocketClient.connect(socketUrl);
    await refused.init({ authorization: `Bearer ${text.replaceAll(/\s/g, '')}`, note: text });
    await refused.closed();
  }
  const client = await SocketClient.open(socketUrl, { authorization: `Bearer ${adminKey}` });
  const create = 'mutation ($input: OpenIncidentInput!) { openIncident(input: $input) { incident { title } } }';
  const feed = 'subscription ($filter: AuditEntryFilter) { auditFeed(filter: $filter, after: "0") { cursor } }';
  for (const [place, { text }] of secrets.entries()) {
    client.subscribe(`m${place}`, create, { input: { title: text } });
    client.subscribe(
      `l${place}`,
      `mutation { openIncident(input: { title: ${JSON.stringify(text)} }) { __typename } }`,
    );
    client.subscribe(`b${place}`, `{ signals(first: ${JSON.stringify(text)}) { totalCount } }`);
    client.send({
      id: `o${place}`,
      type: 'subscribe',
      payload: { query: '{ viewer { name } }', operationName: text },
    });
    await client.message('complete', `m${place}`);
    client.subscribe(`f${place}`, feed, { filter: { resource: { eq: text } } });
    await client.message('error', `o${place}`);
    await client.roundTrip();
    client.complete(`f${place}`);
  }
  await client.roundTrip();
  client.socket.close();
  await client.closed();
  answers.push(JSON.stringify(client.messages));
});

test('none of the secrets is in the database, answers, log, metrics, exports or any file of the data folder', async () => {
  expect(sent.size).toBeGreaterThan(1_000);
  await collect('after');
  const stored = await readFile(join(seen, 'after', 'database'), 'utf8');
  // They were recorded, and without them their marks: calls that were refused leave no arguments.
  expect(stored.match(/\[redacted [0-9a-f]{32}\]/g)?.length).toBeGreaterThan(sent.size / 4);
  expect(await service.end('SIGTERM')).toBe(0);
  await writeFile(join(seen, 'after', 'log'), service.output());
  expect(service.output()).toContain('"level":30');
  const found = [...(await findTexts([...sent.keys()], seen)), ...(await findTexts([...sent.keys()], dataDir))];
  // The files of the audit log were looked through as well: what is no secret is in them.
  expect(await findTexts([control], join(dataDir, 'audit'))).toEqual([control]);
  expect(found.map((plain) => sent.get(plain))).toEqual([]);
}, 240_000);

/** Writes what can be seen of the service now into a folder: tables, answers, metrics, exports. */
async function collect(name: string): Promise<void> {
  const folder = join(seen, name);
  await mkdir(folder, { recursive: true });
  const password = (await readFile(join(dataDir, 'postgres/superuser-password'), 'utf8')).trim();
  const database = await dumpDatabase(`postgres://postgres:${password}@127.0.0.1:${postgresPort}/daybook`);
  for (const table of ['signals', 'audit_entries', 'incidents', 'api_keys', 'graphile_worker._private_jobs']) {
    expect(database).toContain(`-- ${table}: `);
  }
  await writeFile(join(folder, 'database'), database);
  await writeFile(join(folder, 'answers'), answers.join('\n'));
  const key = { headers: { authorization: `Bearer ${adminKey}` } };
  const routes = [
    '/metrics',
    '/health/detailed',
    '/audit/stats',
    '/audit/logs?limit=1000',
    '/audit/logs?limit=1000&format=csv',
  ];
  const exported = ['csv', 'json', 'jsonl', 'parquet'].map((format) => `/audit/export?format=${format}`);
  for (const [place, path] of [...routes, ...exported].entries()) {
    const response = await fetch(url + path, key);
    expect({ path, status: response.status }).toEqual({ path, status: 200 });
    await writeFile(join(folder, `answer-${place}`), Buffer.from(await response.arrayBuffer()));
  }
}
