import {
  GraphQLInputObjectType,
  isEnumType,
  isListType,
  isNonNullType,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLSchema,
} from 'graphql';
import { linesOfPrivateKey, storable, textCharactersMax, type RedactionWalk } from './redaction-walk.js';
import { sensitiveRule } from './redaction-rules.js';
import { isSecretName, ruleForMember } from './secret-members.js';
import { isSensitive } from './sensitive.js';

/** Scalars with a form of their own, which holds no text: a price of sixteen digits is no card number. */
const formedScalars: ReadonlySet<string> = new Set([
  'Boolean',
  'Int',
  'Float',
  'Decimal',
  'BigInt',
  'DateTime',
  'Date',
  'Hash',
]);
const textScalars: ReadonlySet<string> = new Set(['String', 'ID']);

/** How values of an input are redacted, by what the schema says of it. */
type InputPlan =
  | { readonly kind: 'formed' }
  | { readonly kind: 'text' }
  | { readonly kind: 'free-form' }
  | { readonly kind: 'sensitive' }
  | { readonly kind: 'secret-name'; readonly inner: InputPlan }
  | { readonly kind: 'list'; readonly item: InputPlan }
  | { readonly kind: 'object'; readonly members: () => ReadonlyMap<string, InputPlan> };

/** What stands for a value: in the entry of the call, and for the operation. */
interface Replaced {
  readonly recorded: unknown;
  readonly passed: unknown;
}

/** Plans of the arguments of root fields, by the field's name. */
export type RootInputs = ReadonlyMap<string, InputPlan>;

/** Reads from the schema how arguments of each root field are redacted. */
export function planRootInputs(schema: GraphQLSchema): RootInputs {
  const objects = new Map<string, InputPlan>();
  const plans = new Map<string, InputPlan>();
  for (const type of [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()]) {
    for (const [name, field] of Object.entries(type?.getFields() ?? {})) {
      if (plans.has(name)) throw new Error(`two root fields are called ${name}: their calls could not be told apart`);
      const members = new Map(field.args.map((argument) => [argument.name, planOf(argument, objects)]));
      plans.set(name, { kind: 'object', members: () => members });
    }
  }
  return plans;
}

function planOf(input: GraphQLArgument | GraphQLInputField, objects: Map<string, InputPlan>): InputPlan {
  if (isSensitive(input)) return { kind: 'sensitive' };
  const inner = planOfType(input.type, objects);
  return isSecretName(input.name) && inner.kind !== 'object' ? { kind: 'secret-name', inner } : inner;
}

function planOfType(type: GraphQLInputType, objects: Map<string, InputPlan>): InputPlan {
  if (isNonNullType(type)) return planOfType(type.ofType, objects);
  if (isListType(type)) return { kind: 'list', item: planOfType(type.ofType, objects) };
  if (type instanceof GraphQLInputObjectType) return planOfObject(type, objects);
  if (isEnumType(type) || formedScalars.has(type.name)) return { kind: 'formed' };
  return { kind: textScalars.has(type.name) ? 'text' : 'free-form' };
}

/** Filters hold themselves, so members are planned when they are first asked for. */
function planOfObject(type: GraphQLInputObjectType, objects: Map<string, InputPlan>): InputPlan {
  const known = objects.get(type.name);
  if (known !== undefined) return known;
  let members: ReadonlyMap<string, InputPlan> | undefined;
  const plan: InputPlan = {
    kind: 'object',
    members: () =>
      (members ??= new Map(Object.entries(type.getFields()).map(([name, field]) => [name, planOf(field, objects)]))),
  };
  objects.set(type.name, plan);
  return plan;
}

/**
 * Redacts what GraphQL coerced for an input. Null where it may be recorded and passed on as it is. What is marked `@sensitive`
 * is passed as it was given; other texts reach the operation without the secrets that the rules find, so that none of
 * them is stored whatever the operation does.
 */
export function redactInput(walk: RedactionWalk, plan: InputPlan, value: unknown): Replaced | null {
  if (value === null || value === undefined) return null;
  if (walk.isTooDeep) return { recorded: '[nested too deeply to be recorded]', passed: value };
  switch (plan.kind) {
    case 'formed':
      return typeof value === 'number' && !Number.isSafeInteger(value)
        ? { recorded: String(value), passed: value }
        : null;
    case 'text':
      return redactGivenText(walk, value);
    case 'sensitive':
      return { recorded: marksOf(walk, value), passed: value };
    case 'secret-name':
      return redactNamed(walk, plan.inner, value);
    case 'list':
      return Array.isArray(value) ? redactList(walk, plan.item, value) : redactInput(walk, plan.item, value);
    case 'object':
      return typeof value === 'object' ? redactObject(walk, plan.members(), value) : redactFreeForm(walk, value);
    case 'free-form':
      return redactFreeForm(walk, value);
  }
}

function redactGivenText(walk: RedactionWalk, value: unknown): Replaced | null {
  if (typeof value !== 'string') return redactFreeForm(walk, value);
  if (value.length > textCharactersMax) return { recorded: walk.recordable(value), passed: value };
  const passed = walk.replaced(value);
  const recorded = storable(passed);
  return recorded === value ? null : { recorded, passed };
}

function redactFreeForm(walk: RedactionWalk, value: unknown): Replaced {
  const before = walk.rules.length;
  const recorded = walk.freeForm(value);
  return { recorded, passed: walk.rules.length === before ? value : recorded };
}

/** An input that is a secret by its name and was not marked: nothing but a mark reaches the operation either. */
function redactNamed(walk: RedactionWalk, inner: InputPlan, value: unknown): Replaced | null {
  if (typeof value === 'boolean') return null;
  const recorded = walk.marked('secret-name', value);
  return { recorded, passed: inner.kind === 'text' ? recorded : value };
}

function redactList(walk: RedactionWalk, plan: InputPlan, items: readonly unknown[]): Replaced | null {
  const ofKey = linesOfPrivateKey(items);
  const [recorded, passed] = [[...items], [...items]];
  let isReplaced = false;
  for (const [place, item] of items.entries()) {
    const replaced = walk.at(String(place), () => {
      if (!ofKey.has(place)) return redactInput(walk, plan, item);
      const mark = walk.marked('pem-private-key', item);
      return { recorded: mark, passed: mark };
    });
    if (replaced === null) continue;
    isReplaced = true;
    recorded[place] = replaced.recorded;
    passed[place] = replaced.passed;
  }
  return isReplaced ? { recorded, passed } : null;
}

function redactObject(walk: RedactionWalk, members: ReadonlyMap<string, InputPlan>, value: object): Replaced | null {
  let recorded: Record<string, unknown> | null = null;
  let passed: Record<string, unknown> | null = null;
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    const plan = members.get(name) ?? { kind: 'free-form' };
    const replaced = walk.at(name, () => redactMember(walk, plan, { owner: value, name, member }));
    if (replaced === null) continue;
    recorded ??= { ...value };
    passed ??= { ...value };
    recorded[name] = replaced.recorded;
    passed[name] = replaced.passed;
  }
  return recorded === null ? null : { recorded, passed };
}

function redactMember(
  walk: RedactionWalk,
  plan: InputPlan,
  { owner, name, member }: { readonly owner: object; readonly name: string; readonly member: unknown },
): Replaced | null {
  if (plan.kind !== 'text' || typeof member !== 'string') return redactInput(walk, plan, member);
  const rule = ruleForMember(owner, name);
  if (rule === null) return redactGivenText(walk, member);
  const mark = walk.marked(rule, member);
  return { recorded: mark, passed: mark };
}

/** One mark for each value of a list, so that equality can be checked for each. */
function marksOf(walk: RedactionWalk, value: unknown): unknown {
  if (!Array.isArray(value)) return value === null ? null : walk.marked(sensitiveRule, value);
  return value.map((item: unknown, place) => walk.at(String(place), () => marksOf(walk, item)));
}
