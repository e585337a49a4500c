import { expect, test } from '@jest/globals';
import {
  buildSchema,
  GraphQLInputObjectType,
  GraphQLNonNull,
  GraphQLString,
  isInputObjectType,
  printSchema,
  type GraphQLSchema,
} from 'graphql';
import { isSensitive } from '../../src/access/sensitive.js';
import { kindsWithMarks } from '../../src/audit/record-events.js';
import { buildDaybookSchema } from '../../src/schema.js';
import { inputsOf, unmarkedSecrets, type Reviewed } from '../support/unmarked-secrets.js';

/** Inputs whose words let one expect a secret and which carry none: each with its reason. */
const schema = buildDaybookSchema();
const reviewed: Reviewed = {
  'CreateApiKeyInput.name': 'the name of the key; its secret is made by the service',
  'CreateApiKeyInput.expiresAt': 'a time',
  'Query.rotationHistory(secretName)': 'names a secret',
  'Query.rotationHistory(secretType)': 'the type of a secret',
  ...Object.fromEntries(
    [...inputsOf(schema).keys()]
      .filter((name) => /Input\.secret(Name|Type)$/.test(name))
      .map((name) => [name, 'says which secret is meant, and holds none']),
  ),
  ...Object.fromEntries(
    [...inputsOf(schema).keys()]
      .filter((name) => name.endsWith('.idempotencyKey'))
      .map((name) => [name, 'names a retry; the rules redact its text as any other']),
  ),
};

test('every input that can carry a secret is marked @sensitive, or reviewed with a reason', () => {
  const inputs = inputsOf(schema);
  expect(inputs.size).toBeGreaterThan(100);
  expect(unmarkedSecrets(schema, reviewed)).toEqual([]);
  // A review of what is gone, or marked by now, is to be taken off the list.
  expect(Object.keys(reviewed).filter((name) => !inputs.has(name))).toEqual([]);
});

test.each([
  ['a field by its name', 'input Planted { brokerPassword: String } type Query { planted(input: Planted): Int }'],
  ['a field of a nested input', 'input A { b: [B!] } input B { apiKey: String } type Query { planted(a: A): Int }'],
  [
    'a field by its description',
    'input Planted { "The token to log in with." x: String } type Query { p(i: Planted): Int }',
  ],
  ['an argument of a root field', 'type Query { planted(otp: String): Int }'],
  ['an argument of another field', 'type Thing { planted(secret: String): Int } type Query { thing: Thing }'],
  ['an argument of a directive', 'directive @planted(token: String) on FIELD type Query { thing: Int }'],
])('the check finds %s that is not marked', (_where, sdl) => {
  expect(unmarkedSecrets(buildSchema(sdl), reviewed)).toHaveLength(1);
});

test('the check finds an unmarked input that is planted into the schema of the service itself', () => {
  const planted: GraphQLSchema = buildDaybookSchema();
  const input = planted.getType('CreateApiKeyInput') as GraphQLInputObjectType;
  input.getFields().ownSecret = {
    name: 'ownSecret',
    description: null,
    type: new GraphQLNonNull(GraphQLString),
    defaultValue: undefined,
    deprecationReason: null,
    extensions: {},
    astNode: null,
  };
  expect(unmarkedSecrets(planted, reviewed)).toEqual(['CreateApiKeyInput.ownSecret']);
});

test('a marked input passes the check', () => {
  const sdl = `
    directive @sensitive on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
    input Planted { brokerPassword: String @sensitive }
    type Query { planted(input: Planted, token: String @sensitive): Int }`;
  expect(unmarkedSecrets(buildSchema(sdl), reviewed)).toEqual([]);
});

test('the schema declares the directive, with a description', () => {
  expect(printSchema(schema)).toMatch(/"""[^"]+"""\ndirective @sensitive on /);
});

test('the old and new value of a configuration are marked', () => {
  const inputs = inputsOf(schema);
  const marked = [...inputs].filter(([, input]) => isSensitive(input)).map(([name]) => name);
  expect(marked).toEqual(expect.arrayContaining(['ConfigChangedInput.oldValue', 'ConfigChangedInput.newValue']));
});

test('events with marked inputs are those that redact them before they are stored', () => {
  const event = schema.getType('EventInput') as GraphQLInputObjectType;
  const withMarks = Object.values(event.getFields())
    .filter(({ type }) => isInputObjectType(type) && Object.values(type.getFields()).some(isSensitive))
    .map(({ name }) => name);
  expect(new Set(withMarks)).toEqual(kindsWithMarks);
});
