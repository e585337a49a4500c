import {
  getNamedType,
  GraphQLInputObjectType,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLSchema,
} from 'graphql';

/** Where in the arguments of a field a value stands. */
export type InputPath = readonly (string | number)[];

/** Arguments that the field takes, and every place in them that holds a single value. */
export interface GeneratedArguments {
  readonly args: Record<string, unknown>;
  readonly leaves: readonly InputPath[];
}

/** Values for inputs whose form their type does not tell, by the input's name. */
export type InputValues = Readonly<Record<string, unknown>>;

const values: InputValues = {
  symbol: 'AAPL',
  currency: 'USD',
  sourceIp: '192.0.2.7',
  confidence: '0.5',
  rationale: 'The price rose above its moving average of fifty days.',
  reason: 'asked for by a generated call',
  timeZone: 'UTC',
};

const ofScalars: Readonly<Record<string, () => unknown>> = {
  Boolean: () => true,
  Int: () => 1,
  Float: () => 1.5,
  BigInt: () => '0',
  Decimal: () => '1.5',
  Date: () => '2020-01-05',
  DateTime: () => '2020-01-05T08:30:00Z',
  Hash: () => '0'.repeat(64),
};

/**
 * Arguments for a field, made from the schema: one set for each member of inputs that take exactly one. `given` are values by
 * the name of an input; undefined leaves an optional input away, whose place is named all the same.
 */
export function generateArguments(
  field: GraphQLField<unknown, unknown>,
  given: InputValues = {},
): GeneratedArguments[] {
  return combine(field.args, { ...values, ...given }, [], []);
}

function combine(
  inputs: readonly (GraphQLArgument | GraphQLInputField)[],
  given: InputValues,
  path: InputPath,
  within: readonly GraphQLInputObjectType[],
): GeneratedArguments[] {
  let sets: GeneratedArguments[] = [{ args: {}, leaves: [] }];
  for (const input of inputs) {
    const isLeftAway = input.name in given && given[input.name] === undefined;
    const named = getNamedType(input.type);
    const isRecursive = named instanceof GraphQLInputObjectType && within.includes(named);
    if (isLeftAway) {
      const leaf = [...path, input.name];
      sets = sets.map(({ args, leaves }) => ({ args, leaves: [...leaves, leaf] }));
    }
    if (isLeftAway || isRecursive) continue;
    const own = generate(input.type, input.name, given, [...path, input.name], within);
    sets = own.flatMap(({ value, leaves }) =>
      sets.map((set) => ({
        args: { ...set.args, [input.name]: value },
        leaves: [...set.leaves, ...leaves],
      })),
    );
  }
  return sets;
}

function generate(
  type: GraphQLInputType,
  name: string,
  given: InputValues,
  path: InputPath,
  within: readonly GraphQLInputObjectType[],
): { readonly value: unknown; readonly leaves: readonly InputPath[] }[] {
  if (isNonNullType(type)) return generate(type.ofType, name, given, path, within);
  if (isListType(type)) {
    return generate(type.ofType, name, given, [...path, 0], within).map(({ value, leaves }) => ({
      value: [value],
      leaves,
    }));
  }
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields());
    const choices = type.isOneOf ? fields.map((field) => [field]) : [fields];
    return choices
      .flatMap((chosen) => combine(chosen, given, path, [...within, type]))
      .map(({ args, leaves }) => ({ value: args, leaves }));
  }
  const leaves = [path];
  if (name in given) return [{ value: given[name], leaves }];
  if (isEnumType(type)) return [{ value: type.getValues()[0]?.name, leaves }];
  return [{ value: ofScalars[type.name]?.() ?? 'generated', leaves }];
}

/** The arguments with another value at one place. */
export function withValueAt(args: Record<string, unknown>, path: InputPath, value: unknown): Record<string, unknown> {
  const copy = structuredClone(args);
  let holder = copy as Record<string | number, unknown>;
  for (const step of path.slice(0, -1)) holder = holder[step] as Record<string | number, unknown>;
  holder[path.at(-1) ?? ''] = value;
  return copy;
}

/** A call of one field as a document with variables. */
export function callWithVariables(operation: string, field: GraphQLField<unknown, unknown>): string {
  const declared = field.args.map(({ name, type }) => `$${name}: ${String(type)}`).join(', ');
  const passed = field.args.map(({ name }) => `${name}: $${name}`).join(', ');
  const list = (text: string) => (text === '' ? '' : `(${text})`);
  return `${operation} ${list(declared)} { ${field.name}${list(passed)} ${selectionOf(field)} }`;
}

/** A text as GraphQL can write it: in quotes, with every character escaped, or as a block. */
export const textLiterals = {
  quoted: (text: string) => JSON.stringify(text),
  escaped: (text: string) =>
    `"${[...text].map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`,
  block: (text: string) => `"""${text.replaceAll('"""', '\\"""')}\n"""`,
} as const;

/** A call of one field as a document with literals and an alias. */
export function callWithLiterals(
  operation: string,
  field: GraphQLField<unknown, unknown>,
  args: Record<string, unknown>,
  write: (text: string) => string = textLiterals.quoted,
): string {
  const passed = field.args
    .filter(({ name }) => args[name] !== undefined)
    .map(({ name, type }) => `${name}: ${literal(args[name], type, write)}`);
  return `${operation} { aliased: ${field.name}${passed.length === 0 ? '' : `(${passed.join(', ')})`} ${selectionOf(field)} }`;
}

function selectionOf(field: GraphQLField<unknown, unknown>): string {
  return isCompositeType(getNamedType(field.type)) ? '{ __typename }' : '';
}

function literal(value: unknown, type: GraphQLInputType, write: (text: string) => string): string {
  if (isNonNullType(type)) return literal(value, type.ofType, write);
  if (value === null || value === undefined) return 'null';
  if (isListType(type) && Array.isArray(value))
    return `[${value.map((item) => literal(item, type.ofType, write)).join(', ')}]`;
  if (isInputObjectType(type) && typeof value === 'object') {
    const fields = type.getFields();
    const members = Object.entries(value).map(([name, member]) => {
      const field = fields[name];
      return `${name}: ${field === undefined ? JSON.stringify(member) : literal(member, field.type, write)}`;
    });
    return `{${members.join(', ')}}`;
  }
  // An enum's own names have no quotes; anything else is sent as a text, which GraphQL refuses.
  if (isEnumType(type) && typeof value === 'string' && type.getValue(value) !== undefined) return value;
  return typeof value === 'string' ? write(value) : JSON.stringify(value);
}

/** Whether a place takes text: what is sent there is stored, where it is not refused by its form. */
export function isText(schema: GraphQLSchema, field: GraphQLField<unknown, unknown>, leaf: InputPath): boolean {
  let inputs: readonly { readonly name: string; readonly type: unknown }[] = field.args;
  let text = false;
  for (const step of leaf) {
    if (typeof step === 'number') continue;
    const input = inputs.find(({ name }) => name === step);
    const type = schema.getType(String(input?.type).replaceAll(/[[\]!]/g, ''));
    text = type?.name === 'String' || type?.name === 'ID';
    inputs = isInputObjectType(type) ? Object.values(type.getFields()) : [];
  }
  return text;
}
