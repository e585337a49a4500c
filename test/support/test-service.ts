import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { readConfig } from '../../src/config.js';
import { openContext, type NodeContext } from '../../src/context.js';
import { startServer } from '../../src/server.js';
import { createTestDatabase, type TestDatabase } from './test-database.js';
import { findFreePort } from './test-server.js';

/** The ADMIN key of every test service. */
export const adminKey = 'daybook_test_admin_key_that_is_long_enough_0001';

/** What a GraphQL call answered. */
export interface Answer {
  readonly data?: Record<string, any> | null;
  readonly errors?: readonly { message: string; extensions: { code: string; retryable: boolean } }[];
}

/** One node of the service in this process, on a database of its own or a shared one. */
export interface TestService extends AsyncDisposable {
  readonly url: string;
  readonly socketUrl: string;
  readonly database: TestDatabase;
  readonly context: NodeContext;
  /** Calls the API; the ADMIN key unless another is given, none with null. */
  call(query: string, variables?: Record<string, unknown>, key?: string | null): Promise<Answer>;
  /** Makes a key of a role and returns its secret. */
  makeKey(role: string, expiresAt?: string): Promise<string>;
}

export async function startTestService(
  options: { database?: TestDatabase; environment?: Record<string, string> } = {},
): Promise<TestService> {
  await using stack = new AsyncDisposableStack();
  const database = options.database ?? stack.use(await createTestDatabase());
  const dataDir = await mkdtemp(join(tmpdir(), 'daybook-service-'));
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  const config = readConfig({
    DAYBOOK_PORT: String(await findFreePort()),
    DAYBOOK_DATA_DIR: dataDir,
    DATABASE_URL: database.urls.superuser,
    DAYBOOK_ADMIN_KEY: adminKey,
    ...options.environment,
  });
  const log = pino({ level: process.env.DAYBOOK_TEST_LOG ?? 'silent' });
  const context = stack.use(await openContext(config, log));
  const server = stack.use(await startServer(context));
  const owned = stack.move();
  const call: TestService['call'] = (query, variables, key = adminKey) =>
    callGraphql(server.url, query, variables, key);
  let keys = 0;
  return {
    url: server.url,
    socketUrl: `${server.url.replace('http', 'ws')}/graphql`,
    database,
    context,
    call,
    makeKey: async (role, expiresAt) => {
      const input = { name: `${role.toLowerCase()}-${(keys += 1)}-${String(config.port)}`, role, expiresAt };
      const made = await call('mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }', {
        input,
      });
      return (made.data?.createApiKey as { secret: string }).secret;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** POSTs one GraphQL operation. */
export async function callGraphql(
  url: string,
  query: string,
  variables?: Record<string, unknown>,
  key: string | null = adminKey,
): Promise<Answer> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as Answer;
}

/** A signal's input; `changes` replace what a test cares about. */
export function signalInput(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    symbol: 'AAPL',
    action: 'BUY',
    entryPrice: '189.5',
    confidence: '0.8',
    rationale: 'The price rose above its moving average of fifty days.',
    ...changes,
  };
}
