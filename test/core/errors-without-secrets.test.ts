import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { buildSchema, graphqlSync, type GraphQLError } from 'graphql';
import { pino } from 'pino';
import { parseRedactionRules } from '../../src/access/read-redaction-rules.js';
import { Redactor } from '../../src/access/redact.js';
import { redactionRules } from '../../src/access/redaction-rules.js';
import { repeatable } from '../../src/access/repeatable.js';
import { secretlessLog } from '../../src/access/secretless-log.js';
import { formatError } from '../../src/graphql/format-error.js';

const log = pino({ level: 'silent' });
const rules = redactionRules(parseRedactionRules('desk-key=DESK-[0-9]{8}'));
const redactor = new Redactor(Buffer.alloc(32, 7), { rules });
const schema = buildSchema(`
  enum Side { BUY SELL }
  input Order { side: Side, quantity: Int, note: String, price: Float, known: Boolean, id: ID }
  type Query { place(order: Order, side: Side, quantity: Int): Int }
`);

/** Secrets without a shape, with what messages themselves are made of. */
const secrets = ['plum', 'plum; pear', 'plum" at "x"; pear', 'plum, found pear', 'plum\npear'];

function messagesOf(source: string, variableValues?: Record<string, unknown>): string[] {
  const { errors = [] } = graphqlSync({ schema, source, ...(variableValues === undefined ? {} : { variableValues }) });
  expect(errors.length).toBeGreaterThan(0);
  return errors.map((error: GraphQLError) => formatError(error.toJSON(), error, { log, redactor }).message);
}

test.each(secrets)('what GraphQL says of a value that it refuses does not repeat it: %j', (secret) => {
  const literal = JSON.stringify(secret);
  const byVariable = 'query ($order: Order) { place(order: $order) }';
  const messages = [
    ...messagesOf(`{ place(quantity: ${literal}) }`),
    ...messagesOf(`{ place(side: ${literal}) }`),
    ...messagesOf(`{ place(order: { price: ${literal} }) }`),
    ...messagesOf(`{ place(order: { known: ${literal} }) }`),
    ...messagesOf(`{ place(order: ${literal}) }`),
    ...messagesOf(`{ place(order: [${literal}]) }`),
    ...messagesOf(`{ place ${literal} }`),
    ...messagesOf(`{ place(quantity: """${secret.replaceAll('"', '')}""" `),
    ...messagesOf(byVariable, { order: { side: secret } }),
    ...messagesOf(byVariable, { order: { quantity: secret } }),
    ...messagesOf(byVariable, { order: { note: [secret] } }),
    ...messagesOf(byVariable, { order: { note: secret, other: 1 } }),
    ...messagesOf(byVariable, { order: { id: { secret } } }),
    ...messagesOf(byVariable, { order: secret }),
    ...messagesOf('query ($quantity: Int) { place(quantity: $quantity) }', { quantity: secret }),
  ];
  expect(messages.filter((message) => /plum|pear/.test(message))).toEqual([]);
  expect(messages.every((message) => message.length > 15)).toBe(true);
});

test('a message still says where a value is wrong', () => {
  const [message] = messagesOf('query ($order: Order) { place(order: $order) }', { order: { quantity: 'plum' } });
  expect(message).toContain('order.quantity');
  expect(message).toContain('Int');
});

test('secrets of a telling shape are taken out of every message', () => {
  const [message] = messagesOf('{ AKIAIOSFODNN7EXAMPLE }');
  expect(message).not.toContain('AKIA');
  expect(redactor.hide('there is no signal with id DESK-12345678')).toBe('there is no signal with id [redacted]');
});

test('a text that is too long to be repeated is left out: a piece of a secret is found by no rule', () => {
  expect(repeatable('id-1', 40)).toBe('id-1');
  expect(repeatable(`there is ${'Ab1/'.repeat(10)}`, 40)).toBe('(49 characters)');
});

test('what the service itself says in messages is taken for a secret nowhere', async () => {
  const said: string[] = [];
  for (const file of await readdir('src', { recursive: true })) {
    if (!file.endsWith('.ts')) continue;
    const source = await readFile(join('src', file), 'utf8');
    for (const [, , text] of source.matchAll(
      /(?:Error\(\s*'[A-Z_]+',\s*|[lL]og(?:ger)?\.(?:trace|debug|info|warn|error|fatal)\((?:\{[^{}]*\},\s*|\{[^{}]*\{[^{}]*\}[^{}]*\},\s*)?)(['`])((?:[^'`\\]|\\.)+)\1/g,
    )) {
      if (text !== undefined) said.push(text);
    }
  }
  expect(said.length).toBeGreaterThan(150);
  expect(said).toContain('send a valid API key, as in Authorization: Bearer <key>');
  expect(said.filter((text) => redactor.hide(text) !== text)).toEqual([]);
});

test.each(['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const)(
  'a line of level %s is without secrets in its message and members, by name, by shape and by rules of the operator',
  (level) => {
    const lines: any[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(JSON.parse(String(chunk)));
        done();
      },
    });
    const logger = secretlessLog(pino({ level: 'trace' }, stream), rules.shapes);
    const error = Object.assign(new Error('DESK-12345678'), { detail: 'plum' });
    const members = {
      password: 'plum',
      pin: { a: 'plum' },
      tokens: 5,
      size: 1n.toString(),
      at: new Date(0),
      none: null,
    };
    const nested = { list: ['token=plum', { secret: 'plum', inner: error }], AKIAIOSFODNN7EXAMPLE: 1 };
    logger[level](
      { ...members, reason: 'with password=plum', nested, error },
      'refused password=%s of %s',
      'plum',
      'DESK-12345678',
    );
    logger.child({ part: 'x' })[level]('password=plum');
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(lines)).not.toMatch(/plum|DESK-1|AKIA/);
    expect(lines[0]).toMatchObject({
      password: '[redacted]',
      pin: '[redacted]',
      tokens: 5,
      size: '1',
      at: '1970-01-01T00:00:00.000Z',
      none: null,
      reason: 'with password=[redacted]',
      msg: 'refused password=[redacted] of [redacted]',
    });
    expect(lines[1]).toMatchObject({ part: 'x', msg: 'password=[redacted]' });
  },
);

test('what PostgreSQL says of the values of a row does not reach the log, nor what looks like a secret', () => {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const refused = Object.assign(new Error('value of password=plum refused'), {
    code: '23514',
    severity: 'ERROR',
    constraint: 'some_check',
    detail: 'Failing row contains (plum).',
    where: 'plum',
    parameters: ['plum'],
    row: { note: 'plum' },
  });
  const error = new Error('a call failed', { cause: refused });
  const logger = secretlessLog(pino({ level: 'trace' }, stream));
  logger.error({ err: error }, 'failed');
  logger.child({ part: 'x' }).warn({ err: refused }, 'failed again');
  logger.warn({ err: new AggregateError([refused], 'several') }, 'failed');
  expect(lines).toHaveLength(3);
  expect(lines.filter((line) => line.includes('plum'))).toEqual([]);
  expect(lines[0]).toContain('"code":"23514"');
  expect(lines[1]).toContain('some_check');
});
