import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { buildSchema, graphqlSync, type GraphQLError } from 'graphql';
import { pino } from 'pino';
import { withLoggableErrors } from '../../src/access/loggable-error.js';
import { formatError } from '../../src/graphql/format-error.js';

const log = pino({ level: 'silent' });
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
  return errors.map((error: GraphQLError) => formatError(error.toJSON(), error, log).message);
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
});

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
  const logger = withLoggableErrors(pino({ level: 'trace' }, stream));
  logger.error({ err: error }, 'failed');
  logger.child({ part: 'x' }).warn({ err: refused }, 'failed again');
  logger.warn({ err: new AggregateError([refused], 'several') }, 'failed');
  expect(lines).toHaveLength(3);
  expect(lines.filter((line) => line.includes('plum'))).toEqual([]);
  expect(lines[0]).toContain('"code":"23514"');
  expect(lines[1]).toContain('some_check');
});
