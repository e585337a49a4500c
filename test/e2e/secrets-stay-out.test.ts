import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { GraphQLField } from 'graphql';
import { buildDaybookSchema } from '../../src/schema.js';
import { createDataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { findTexts } from '../support/find-texts.js';
import {
  callWithLiterals,
  callWithVariables,
  generateArguments,
  isText,
  textLiterals,
  withValueAt,
} from '../support/generated-calls.js';
import { leftAway, prepareMutation } from '../support/mutation-arguments.js';
import { sendRaw, type RawRequest } from '../support/raw-request.js';
import { drawSecrets, type SampleSecret } from '../support/sample-secrets.js';
import { startServiceProcess, type ServiceProcess } from '../support/service-process.js';
import { startSinkReceivers, type SinkReceivers } from '../support/sink-receivers.js';
import { SocketClient } from '../support/socket-client.js';
import { openSession } from '../support/sql-session.js';
import { watchStatements, type StatementWatch } from '../support/statement-watch.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, type Answer } from '../support/test-service.js';
import { textHeaders, textPaths } from '../support/text-carriers.js';
import { superuserUrlOf, waitForSinks, writePlaces } from '../support/value-places.js';

/** Calls at a time; the service's queue holds many more. */
const callersMax = 8;
/** Shapes sent into places that take no free text: GraphQL refuses them, and what it says is looked at. */
const shapesForForms = 4;

const schema = buildDaybookSchema();
const mutations = Object.values(schema.getMutationType()?.getFields() ?? {});
const queries = Object.values(schema.getQueryType()?.getFields() ?? {});

let stack: AsyncDisposableStack;
let service: ServiceProcess;
let receivers: SinkReceivers;
let statements: StatementWatch;
let url: string;
let dataDir: string;
let configFile: string;
let seen: string;
let superuserUrl: string;
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
  await mkdir(join(looked, 'root'), { recursive: true });
  await mkdir(seen);
  configFile = join(looked, 'root', 'bot.env');
  await writeFile(configFile, `NOTE=${control}\n`);
  receivers = opening.use(await startSinkReceivers(seen));
  const [port, postgresPort] = [await findFreePort(), await findFreePort()];
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
      DAYBOOK_CHECKPOINT_SECONDS: '0.2',
      DAYBOOK_SINKS_FILE: receivers.file,
      DAYBOOK_CONFIG_ROOT: join(looked, 'root'),
      DAYBOOK_CONFIG_FILES: '*.env',
      // Old files would be compressed, and what is in them not found.
      DAYBOOK_LOG_GZIP: 'off',
    }),
  );
  superuserUrl = await superuserUrlOf(dataDir, postgresPort);
  statements = await watchStatements(superuserUrl, control);
  opening.defer(() => statements[Symbol.asyncDispose]());
  stack = opening.move();
});

afterAll(() => stack.disposeAsync());

/** Fresh secrets for one place, so that what is found says where it came in: one of each shape, or where they take turns its share. */
function secretsFor(place: string, turn = 0, turns = 1): SampleSecret[] {
  const secrets = drawSecrets().filter((_, number) => (number + turn) % turns === 0);
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

/** Mutations that cannot succeed here, with how they fail: nothing of this log is old enough to be archived. */
const refusedHere: Readonly<Record<string, string>> = { restoreArchives: 'NOT_FOUND' };

async function argumentsFor(field: GraphQLField<unknown, unknown>) {
  return generateArguments(field, { ...leftAway, ...(await prepareMutation(field.name, call)) });
}

test('the mutations of the schema succeed with generated arguments, so that what they are sent is stored', async () => {
  expect(mutations.length).toBeGreaterThan(10);
  for (const field of mutations) {
    const variants = (await argumentsFor(field)).length;
    for (let variant = 0; variant < variants; variant += 1) {
      const { args = {} } = (await argumentsFor(field))[variant] ?? {};
      const answer = await call(callWithVariables('mutation', field), args);
      if (field.name in refusedHere) {
        expect(answer.errors?.[0]?.extensions.code).toBe(refusedHere[field.name]);
        continue;
      }
      expect({ field: field.name, variant, errors: answer.errors }).toEqual({ field: field.name, variant });
    }
  }
});

/** A text with a secret in a way of its own for each place: by variable, or as a literal of any form. */
function callWith(
  operation: string,
  field: GraphQLField<unknown, unknown>,
  args: Record<string, unknown>,
  way: number,
) {
  const [quoted, escaped, block] = [textLiterals.quoted, textLiterals.escaped, textLiterals.block];
  const write = [null, quoted, null, escaped, null, block][way % 6];
  if (write === null || write === undefined) return call(callWithVariables(operation, field), args);
  return call(callWithLiterals(operation, field, args, write));
}

test.each(mutations)(
  'secrets are sent into every input of $name',
  async (field) => {
    const sets = await argumentsFor(field);
    const shapes = new Set<string>();
    const inputs = sets.flatMap(({ leaves }, variant) => leaves.map((leaf) => ({ variant, leaf })));
    const ofText = inputs.filter(({ leaf }) => isText(schema, field, leaf));
    // Where there are many inputs the shapes take turns.
    const turns = Math.max(1, Math.min(4, Math.ceil(ofText.length / 4)));
    const calls = inputs.flatMap((input, place) => {
      const { variant, leaf } = input;
      const number = ofText.includes(input) ? ofText.indexOf(input) : place;
      const secrets = secretsFor(`${field.name} ${leaf.join('.')}`, number, turns);
      const isFree = isText(schema, field, leaf);
      const chosen = isFree ? secrets : secrets.slice(0, shapesForForms);
      for (const { shape } of chosen) shapes.add(shape);
      // Longer than what is searched: whatever becomes of it, it is not stored.
      const [long] = isFree && number % turns === 0 ? secretsFor(`${field.name} ${leaf.join('.')}, long`) : [];
      const texts = [
        ...chosen.map(({ text }) => text),
        ...(long === undefined ? [] : ['long '.repeat(14_000) + long.text]),
      ];
      return texts.map((text, way) => async () => {
        const { args = {} } = (await argumentsFor(field))[variant] ?? {};
        await callWith('mutation', field, withValueAt(args, leaf, text), way + number);
      });
    });
    expect(calls.length).toBeGreaterThan(0);
    expect(shapes.size).toBeGreaterThanOrEqual(ofText.length > 0 ? drawSecrets().length : Math.min(4, shapes.size));
    await callAll(calls);
  },
  240_000,
);

test('secrets are sent into every input of the queries', async () => {
  const calls = queries.flatMap((field) =>
    generateArguments(field, { last: undefined, before: undefined, after: undefined }).flatMap(({ args, leaves }) =>
      leaves.flatMap((leaf, number) => {
        const secrets = secretsFor(`${field.name} ${leaf.join('.')}`, number, 12);
        return secrets.map(
          ({ text }, place) =>
            () =>
              callWith('query', field, withValueAt(args, leaf, text), place + number),
        );
      }),
    ),
  );
  await callAll(calls);
}, 240_000);

interface SendOptions extends RawRequest {
  /** Whether the answer is looked through; yes where nothing is said. */
  readonly isKept?: boolean;
}

async function send(path: string, { isKept = true, ...raw }: SendOptions = {}): Promise<void> {
  const headers = { authorization: `Bearer ${adminKey}`, ...raw.headers };
  const answer = await sendRaw(url + path, { ...raw, headers });
  if (isKept) answers.push(answer);
}

const viewer = JSON.stringify({ query: '{ viewer { name } }' });
test.each(textHeaders)('secrets are sent in the header %s', async (header) => {
  const secrets = secretsFor(`the header ${header}`, textHeaders.indexOf(header), 2);
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

test.each(textPaths.map((path) => [path('<secret>'), path] as const))(
  'secrets are sent in the URL %s',
  async (name, path) => {
    const secrets = secretsFor(`the URL ${name}`, textPaths.indexOf(path), 2);
    await callAll(
      secrets.flatMap(({ text, bare }, place) => [
        () => send(path(encodeURIComponent(text))),
        ...(place % 3 === 0 ? [() => send(path(encodeURIComponent(encodeURIComponent(text))))] : []),
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

test('secrets are sent in statements that PostgreSQL refuses, and lie in files of configuration', async () => {
  // What this test itself runs is shown as well.
  await statements[Symbol.asyncDispose]();
  await using session = await openSession(superuserUrl);
  for (const { text } of secretsFor('a refused statement')) {
    const quoted = `'${text.replaceAll("'", "''")}'`;
    const insert = `INSERT INTO public.signals (signal_id, symbol, action, entry_price, confidence, rationale)
      VALUES ('x', 'AAPL', 'BUY', -1, 0.5, ${quoted})`;
    await expect(session.run(insert)).rejects.toMatchObject({ code: '23514' });
    await expect(session.run(insert.replace(quoted, '$1'), [text])).rejects.toMatchObject({ code: '23514' });
  }
  const lines = secretsFor('a file of configuration').map(({ text }) => text);
  await writeFile(configFile, `NOTE=${control}\n${lines.join('\n\n')}\n`);
  const taken = await call('mutation { createConfigSnapshot(input: { reason: "changed" }) { __typename } }');
  expect(taken.errors).toBeUndefined();
});

test('none of the secrets is anywhere, and what is no secret is wherever values are', async () => {
  expect(sent.size).toBeGreaterThan(1_000);
  // Where values of callers are to be found, so that looking for them there says something.
  const input = { title: control };
  const opened = await call(
    'mutation ($input: OpenIncidentInput!) { openIncident(input: $input) { incident { title } } }',
    {
      input,
    },
  );
  expect(opened.errors).toBeUndefined();
  const shown = `shown_${control.replaceAll(/\W/g, '')}`;
  await call(`{ ${shown} }`);
  await send(`/audit/export?format=jsonl&text=${encodeURIComponent(control)}`);
  const asked = { url, key: adminKey, superuserUrl };
  await waitForSinks(asked);
  const names = await writePlaces(seen, asked);
  await expectLedgerIntact(superuserUrl);
  expect(await service.end('SIGTERM')).toBe(0);
  const texts = {
    ...receivers.received(),
    answers: answers.join('\n'),
    statements: statements.statements().join('\n'),
  };
  for (const [name, text] of Object.entries({ ...texts, log: service.output() }))
    await writeFile(join(seen, name), text);

  const proven = names.filter((name) => !name.startsWith('pack-') || name === 'pack-audit.jsonl');
  const expected: Readonly<Record<string, string>> = {
    ...Object.fromEntries([...proven, ...Object.keys(texts), 'ecs'].map((name) => [name, control])),
    // Here nothing stands that a caller sent.
    ...{ stats: 'totalLogs', health: 'database', metrics: receivers.shownName, sinks: receivers.shownName },
    log: 'is ready at',
  };
  expect(Object.keys(expected).length).toBeGreaterThan(18);
  for (const [name, text] of Object.entries(expected)) {
    expect({ name, found: await findTexts([text], join(seen, name)) }).toEqual({ name, found: [text] });
  }
  expect(await findTexts([shown], join(seen, 'answers'))).toEqual([shown]);
  expect(await findTexts([control], join(dataDir, 'audit'))).toEqual([control]);
  expect(await findTexts(['violates check constraint'], join(dataDir, 'postgres/log'))).toHaveLength(1);

  // They were recorded, and without them their marks: calls that were refused leave no arguments.
  const stored = await readFile(join(seen, 'database'), 'utf8');
  expect(stored.match(/\[redacted [0-9a-f]{32}\]/g)?.length).toBeGreaterThan(sent.size / 4);
  const found = [...(await findTexts([...sent.keys()], seen)), ...(await findTexts([...sent.keys()], dataDir))];
  expect(found.map((plain) => sent.get(plain))).toEqual([]);
}, 240_000);
