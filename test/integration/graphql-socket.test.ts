import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  execute,
  GraphQLInt,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
  NoSchemaIntrospectionCustomRule,
  specifiedRules,
  type GraphQLError,
} from 'graphql';
import { pino } from 'pino';
import { DaybookError, type ErrorCode } from '../../src/errors.js';
import { attachGraphqlSocket, type GraphqlSocket, type GraphqlSocketOptions } from '../../src/http/graphql-socket.js';
import { EventSource } from '../support/event-source.js';
import { SocketClient, type ProtocolMessage } from '../support/socket-client.js';
import { waitUntil } from '../support/wait-until.js';

interface Caller {
  readonly keyId: string;
  readonly expiresAt: string | null;
  readonly role: string;
}

const feed = 'subscription ($after: Int) { feed(after: $after) }';
const limits = { checkIntervalMs: 20, recheckIntervalMs: 20, closeWaitMs: 5_000 };

describe('GraphQL over WebSocket', () => {
  let httpServer: Server;
  let url: string;
  let source: EventSource;
  let shutdown: AbortController;
  let socket: GraphqlSocket<Caller>;
  let executions: number;
  let revoked: Set<string>;
  let refusals: string[];
  let slowCalls: PromiseWithResolvers<void>;

  beforeEach(async () => {
    source = new EventSource();
    shutdown = new AbortController();
    executions = 0;
    revoked = new Set();
    refusals = [];
    slowCalls = Promise.withResolvers();
    httpServer = createServer().listen(0, '127.0.0.1');
    await once(httpServer, 'listening');
    url = `ws://127.0.0.1:${(httpServer.address() as AddressInfo).port}/graphql`;
  });

  afterEach(async () => {
    await socket[Symbol.asyncDispose]();
    httpServer.close();
  });

  const schema = new GraphQLSchema({
    query: new GraphQLObjectType({
      name: 'Query',
      fields: {
        hello: { type: GraphQLString, resolve: (_root, _args, context: { role: string }) => `hello ${context.role}` },
        fails: {
          type: GraphQLString,
          resolve: () => {
            throw new DaybookError('NOT_FOUND', 'nothing there');
          },
        },
      },
    }),
    mutation: new GraphQLObjectType({
      name: 'Mutation',
      fields: { slow: { type: GraphQLString, resolve: () => slowCalls.promise.then(() => 'done') } },
    }),
    subscription: new GraphQLObjectType({
      name: 'Subscription',
      fields: {
        feed: {
          type: GraphQLString,
          args: { after: { type: GraphQLInt } },
          subscribe: (_root, args: { after?: number }) => {
            if ((args.after ?? 0) > 1_000) throw new DaybookError('CURSOR_AHEAD', 'beyond the head');
            return source.open(args.after ?? 0);
          },
          resolve: (event: { text: string }, _args, context: { role: string }) => {
            executions += 1;
            return `${event.text} for ${context.role}`;
          },
        },
      },
    }),
  });

  function attach(changes: Partial<GraphqlSocketOptions<Caller>> = {}) {
    socket = attachGraphqlSocket<Caller>({
      httpServer,
      path: '/graphql',
      schema,
      validationRules: [...specifiedRules, NoSchemaIntrospectionCustomRule],
      tokensMax: 100,
      authenticate: async (connectionParams) => {
        const { authorization = 'Bearer monitor', expiresAt = null } = connectionParams as Record<string, string>;
        if (authorization === 'Bearer nobody') throw new DaybookError('UNAUTHENTICATED', 'unknown key');
        if (authorization === 'Bearer producer') throw new DaybookError('FORBIDDEN', 'may not');
        if (authorization === 'Bearer unlucky') throw new DaybookError('DATABASE_UNAVAILABLE', 'later');
        return { keyId: authorization, role: authorization.slice(7), expiresAt };
      },
      isStillValid: async (caller) => !revoked.has(caller.keyId),
      execute: async (args) => execute(args),
      makeContext: ({ caller }) => ({ role: caller.role }),
      onRefused: async (_operation, error) => void refusals.push(String(error.extensions.code)),
      formatError: (error: GraphQLError) => ({
        message: error.message,
        extensions: {
          code: error.originalError instanceof DaybookError ? error.originalError.code : error.extensions.code,
        },
      }),
      scopeOf: (caller) => caller.role,
      clock: { nowMs: () => Date.now() },
      logger: pino({ level: 'silent' }),
      shutdown: shutdown.signal,
      ...changes,
      limits: { ...limits, ...changes.limits },
    });
  }

  function isAbout(text: string) {
    return (message: ProtocolMessage) => JSON.stringify(message.payload).includes(`"${text} for`);
  }

  function codeOf(message: ProtocolMessage): ErrorCode | undefined {
    const errors = (Array.isArray(message.payload) ? message.payload : (message.payload as { errors: [] }).errors) as {
      extensions: { code: ErrorCode };
    }[];
    return errors[0]?.extensions.code;
  }

  test('runs queries through the executor it was given, and shows the codes of their errors', async () => {
    attach();
    const client = await SocketClient.open(url);
    client.subscribe('1', '{ hello }');
    expect((await client.message('next', '1')).payload).toEqual({ data: { hello: 'hello monitor' } });
    await client.message('complete', '1');
    client.subscribe('2', '{ fails }');
    expect(codeOf(await client.message('next', '2'))).toBe('NOT_FOUND');
  });

  test('delivers the events of a subscription in order until the client completes it', async () => {
    attach();
    const client = await SocketClient.open(url);
    client.subscribe('1', feed);
    source.push('a', 'b', 'c');
    await client.message('next', '1', 2);
    expect(client.of('next').map((message) => message.payload)).toEqual(
      ['a', 'b', 'c'].map((text) => ({ data: { feed: `${text} for monitor` } })),
    );
    client.complete('1');
    await waitUntil('the end of the source', () => source.returned === 1);
    expect(client.of('complete')).toEqual([]);
  });

  test('ends the source of every subscription when the client goes away', async () => {
    attach();
    const client = await SocketClient.open(url);
    client.subscribe('1', feed);
    client.subscribe('2', feed);
    await waitUntil('both subscriptions', () => source.opened === 2);
    client.socket.terminate();
    await waitUntil('the end of both sources', () => source.returned === 2);
    await waitUntil('no connection', () => socket.connectionCount === 0);
  });

  test('executes an event once for all subscribers with the same operation and scope, wherever they started', async () => {
    attach();
    source.push('a', 'b');
    const clients = await Promise.all(Array.from({ length: 10 }, () => SocketClient.open(url)));
    clients.forEach((client, place) => client.subscribe('1', feed, { after: place % 3 }));
    await waitUntil('all subscriptions', () => source.opened === 10);
    const early = clients.filter((_, place) => place % 3 < 2);
    await Promise.all(early.map((client) => waitUntil('event b', () => client.of('next').some(isAbout('b')))));
    expect(executions).toBe(2);
    source.push('c');
    await Promise.all(clients.map((client) => waitUntil('event c', () => client.of('next').some(isAbout('c')))));
    expect(executions).toBe(3);
  });

  test('shares nothing between scopes of authorisation', async () => {
    attach();
    const [monitor, auditor] = await Promise.all(
      ['monitor', 'auditor'].map((role) => SocketClient.open(url, { authorization: `Bearer ${role}` })),
    );
    monitor?.subscribe('1', feed);
    auditor?.subscribe('1', feed);
    source.push('a');
    expect((await monitor?.message('next'))?.payload).toEqual({ data: { feed: 'a for monitor' } });
    expect((await auditor?.message('next'))?.payload).toEqual({ data: { feed: 'a for auditor' } });
    expect(executions).toBe(2);
  });

  test.each<[string, number]>([
    ['nobody', 4401],
    ['producer', 4403],
    ['unlucky', 1013],
  ])('closes the connection of %s with %i', async (name, code) => {
    attach();
    const client = SocketClient.connect(url);
    await client.init({ authorization: `Bearer ${name}` });
    expect(await client.closed()).toBe(code);
    expect(client.of('connection_ack')).toEqual([]);
  });

  test('closes with 4401 when an operation comes before the acknowledgement', async () => {
    attach();
    const client = SocketClient.connect(url);
    await once(client.socket, 'open');
    client.subscribe('1', '{ hello }');
    expect(await client.closed()).toBe(4401);
  });

  test('closes with 4408 when nobody introduces himself in time', async () => {
    attach({ limits: { initWaitMs: 50 } });
    expect(await SocketClient.connect(url).closed()).toBe(4408);
  });

  test('closes with 4403 when the key expires or is revoked while connected', async () => {
    attach();
    const expiring = await SocketClient.open(url, { expiresAt: new Date(Date.now() + 100).toISOString() });
    const other = await SocketClient.open(url, { authorization: 'Bearer other' });
    const staying = await SocketClient.open(url);
    revoked.add('Bearer other');
    expect(await expiring.closed()).toBe(4403);
    expect(await other.closed()).toBe(4403);
    expect(staying.closeCode).toBeNull();
  });

  test('reports refused documents with their code, after the refusal was recorded', async () => {
    attach();
    const client = await SocketClient.open(url);
    client.subscribe('parse', '{ hello');
    client.subscribe('validate', '{ nothing }');
    client.subscribe('introspect', '{ __schema { queryType { name } } }');
    client.subscribe('tokens', `{ ${'hello '.repeat(200)} }`);
    client.send({ id: 'name', type: 'subscribe', payload: { query: 'query A { hello } query B { hello }' } });
    client.subscribe('opening', feed, { after: 2_000 });
    expect(codeOf(await client.message('error', 'parse'))).toBe('GRAPHQL_PARSE_FAILED');
    expect(codeOf(await client.message('error', 'validate'))).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(codeOf(await client.message('error', 'introspect'))).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(codeOf(await client.message('error', 'tokens'))).toBe('GRAPHQL_PARSE_FAILED');
    expect(codeOf(await client.message('error', 'name'))).toBe('BAD_REQUEST');
    expect(codeOf(await client.message('next', 'opening'))).toBe('CURSOR_AHEAD');
    expect(refusals).toHaveLength(5);
  });

  test('closes the connection when a refusal cannot be recorded', async () => {
    attach({ onRefused: () => Promise.reject(new DaybookError('DATABASE_UNAVAILABLE', 'no ledger')) });
    const client = await SocketClient.open(url);
    client.subscribe('1', '{ nothing }');
    expect(await client.closed()).toBe(1011);
    expect(client.of('error')).toEqual([]);
  });

  test('an error of the source ends the subscription with its code', async () => {
    attach();
    const client = await SocketClient.open(url);
    client.subscribe('1', feed);
    await waitUntil('the subscription', () => source.opened === 1);
    source.failure = new DaybookError('LEDGER_BROKEN', 'a gap');
    source.wake();
    expect(codeOf(await client.message('error', '1'))).toBe('LEDGER_BROKEN');
  });

  test('bounds operations of a connection, bytes of a message, and connections', async () => {
    attach({ limits: { operationsMax: 2, messageBytesMax: 10_000, connectionsMax: 2 } });
    const client = await SocketClient.open(url);
    for (const id of ['1', '2', '3']) client.subscribe(id, feed);
    expect(codeOf(await client.message('error', '3'))).toBe('BAD_REQUEST');
    const large = await SocketClient.open(url);
    const third = SocketClient.connect(url);
    await third.closed();
    expect(third.status).toBe(503);
    large.subscribe('1', `{ hello } #${'x'.repeat(20_000)}`);
    expect(await large.closed()).toBe(1009);
  });

  test('answers an upgrade on another path with 404', async () => {
    attach();
    const client = SocketClient.connect(url.replace('graphql', 'other'));
    await client.closed();
    expect(client.status).toBe(404);
  });

  test('a paused client holds back its source, and misses nothing when it reads on', async () => {
    attach();
    const [client, other] = [await SocketClient.open(url), await SocketClient.open(url)];
    const text = 'x'.repeat(100_000);
    client.subscribe('1', feed);
    source.push('first');
    await client.message('next', '1');
    client.socket.pause();
    source.push(...Array.from({ length: 500 }, (_, place) => `${place} ${text}`));
    let pulledBefore: number;
    await waitUntil('a standstill', async () => {
      pulledBefore = source.pulled;
      await other.roundTrip();
      return source.pulled > 1 && source.pulled === pulledBefore;
    });
    // What the kernel buffers on both sides of a loopback connection, far below the 50 MB that wait.
    expect(source.pulled).toBeLessThan(150);
    client.socket.resume();
    await client.message('next', '1', 500);
    expect(source.pulled).toBe(501);
  });

  test('closes a consumer that stands still with 1013', async () => {
    const log: string[] = [];
    attach({ limits: { stalledMs: 100 }, logger: pino({}, { write: (line) => void log.push(line) }) });
    const client = await SocketClient.open(url);
    client.subscribe('1', feed);
    await waitUntil('the subscription', () => source.opened === 1);
    client.socket.pause();
    source.push(...Array.from({ length: 200 }, () => 'x'.repeat(100_000)));
    await waitUntil('the finding', () => log.some((line) => line.includes('slow consumer')));
    client.socket.resume();
    expect(await client.closed()).toBe(1013);
    await waitUntil('the end of the source', () => source.returned === 1);
  });

  test('drains: subscriptions end with 1001 and no completion, mutations under way are answered first', async () => {
    attach();
    const follower = await SocketClient.open(url);
    follower.subscribe('1', feed);
    const caller = await SocketClient.open(url);
    caller.subscribe('1', 'mutation { slow }');
    source.push('a');
    await follower.message('next', '1');
    shutdown.abort(new DaybookError('SHUTTING_DOWN', 'draining'));
    expect(await follower.closed()).toBe(1001);
    expect([...follower.of('complete'), ...follower.of('error')]).toEqual([]);
    const late = SocketClient.connect(url);
    await late.closed();
    expect(late.status).toBe(503);
    slowCalls.resolve();
    expect(await caller.closed()).toBe(1001);
    expect(caller.of('next').map((message) => message.payload)).toEqual([{ data: { slow: 'done' } }]);
    await socket[Symbol.asyncDispose]();
    expect(source.returned).toBe(1);
  });
});
