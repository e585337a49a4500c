import { compareDecimals, normalizeDecimal } from '../core/decimal.js';
import { normalizeTimestamp } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';

/** Most comparisons in one filter, deepest nesting, and longest list behind `in`: bounds on what one call may cost. */
const comparisonsMax = 100;
const nestingMax = 8;
const listValuesMax = 1_000;

/** How a column's values compare: exact text, integers, decimals, canonical times, or canonical JSON that is searched. */
type FieldKind = 'text' | 'uuid' | 'integer' | 'decimal' | 'time' | 'json';

/**
 * Name in a filter → column, kind, and the row's property where that has another name. `risesIn` names the table in which a
 * later entry never has a smaller value.
 */
export type FilterFields = Readonly<
  Record<
    string,
    { readonly column: string; readonly kind: FieldKind; readonly property?: string; readonly risesIn?: string }
  >
>;

const operators = ['eq', 'ne', 'in', 'notIn', 'lt', 'lte', 'gt', 'gte', 'isNull', 'startsWith', 'contains'] as const;
type Operator = (typeof operators)[number];

/** A checked filter: one tree that is compiled both to SQL (lists) and to a predicate (feeds). */
export type Condition =
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Condition[] }
  | { readonly kind: 'not'; readonly part: Condition }
  | Comparison;

/** A column compared with what the caller gave. */
export interface Comparison {
  readonly kind: 'compare';
  readonly property: string;
  readonly column: string;
  readonly type: FieldKind;
  readonly operator: Operator;
  readonly value: string | boolean | readonly string[];
  readonly risesIn?: string;
}

/** Checks the caller's filter object. Throws BAD_USER_INPUT naming the field and what it allows. */
export function parseFilter(input: unknown, fields: FilterFields): Condition {
  const budget = { left: comparisonsMax };
  return parseNode(input, fields, budget, 0);
}

function parseNode(input: unknown, fields: FilterFields, budget: { left: number }, level: number): Condition {
  if (level > nestingMax) throw badFilter(`is nested deeper than ${nestingMax} levels`);
  const parts: Condition[] = [];
  for (const [name, value] of Object.entries((input ?? {}) as Record<string, unknown>)) {
    if (value === undefined || value === null) continue;
    if (name === 'and' || name === 'or') {
      const nested = (value as unknown[]).map((part) => parseNode(part, fields, budget, level + 1));
      parts.push({ kind: name, parts: nested });
    } else if (name === 'not') {
      parts.push({ kind: 'not', part: parseNode(value, fields, budget, level + 1) });
    } else {
      parts.push(...parseComparisons(name, value as Record<string, unknown>, fields, budget));
    }
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'and', parts };
}

function parseComparisons(
  name: string,
  comparisons: Record<string, unknown>,
  fields: FilterFields,
  budget: { left: number },
): Condition[] {
  const field = fields[name];
  if (field === undefined) throw badFilter(`has no field ${name}`);
  return Object.entries(comparisons)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([operator, value]) => {
      if (!operators.includes(operator as Operator) || (operator === 'contains') !== (field.kind === 'json')) {
        throw badFilter(`has no operator ${operator} for ${name}`);
      }
      budget.left -= 1;
      if (budget.left < 0) throw badFilter(`has more than ${comparisonsMax} comparisons`);
      return {
        kind: 'compare',
        property: field.property ?? name,
        column: field.column,
        type: field.kind,
        operator: operator as Operator,
        value: parseValue(`${name}.${operator}`, value, field.kind),
        ...(field.risesIn === undefined ? {} : { risesIn: field.risesIn }),
      };
    });
}

function parseValue(name: string, value: unknown, kind: FieldKind): string | boolean | readonly string[] {
  if (typeof value === 'boolean') return value;
  if (Array.isArray(value)) {
    if (value.length > listValuesMax) throw badFilter(`${name} lists more than ${listValuesMax} values`);
    return value.map((item) => parseScalar(name, item, kind));
  }
  return parseScalar(name, value, kind);
}

function parseScalar(name: string, value: unknown, kind: FieldKind): string {
  const text = String(value);
  if (text.includes('\0') || !text.isWellFormed()) throw badFilter(`${name} holds a character no text can hold`);
  const normalized = normalizers[kind](text);
  if (normalized === null) throw badFilter(`${name} is not a ${kindNames[kind]}`);
  return normalized;
}

const normalizers: Readonly<Record<FieldKind, (text: string) => string | null>> = {
  text: (text) => text,
  uuid: (text) => (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : null),
  integer: (text) => (/^-?\d{1,18}$/.test(text) ? BigInt(text).toString() : null),
  decimal: normalizeDecimal,
  time: normalizeTimestamp,
  // As it stands within the JSON text, so that quotes and line breaks of a value are found too.
  json: (text) => foldCase(JSON.stringify(text).slice(1, -1)),
};
const kindNames = {
  text: 'text',
  uuid: 'UUID',
  integer: 'whole number',
  decimal: 'decimal',
  time: 'time',
  json: 'text',
} as const;
const sqlTypes = {
  text: 'text',
  uuid: 'uuid',
  integer: 'bigint',
  decimal: 'numeric',
  time: 'timestamptz',
  json: 'text',
} as const;
const sqlOperators = { eq: '=', lt: '<', lte: '<=', gt: '>', gte: '>=' } as const;

/**
 * SQL text of a condition; each value becomes a parameter pushed to `parameters`. A comparison with NULL is false, and
 * `not` negates that, so that SQL and the predicate agree.
 */
export function conditionToSql(condition: Condition, parameters: unknown[]): string {
  if (condition.kind === 'not') return `(${conditionToSql(condition.part, parameters)}) IS NOT TRUE`;
  if (condition.kind !== 'compare') {
    if (condition.parts.length === 0) return condition.kind === 'and' ? 'true' : 'false';
    const joint = condition.kind === 'and' ? ' AND ' : ' OR ';
    return `(${condition.parts.map((part) => conditionToSql(part, parameters)).join(joint)})`;
  }
  const { column, operator, value, type } = condition;
  if (operator === 'isNull') return `${column} IS ${value === true ? '' : 'NOT '}NULL`;
  parameters.push(value);
  const place = `$${parameters.length}`;
  const sqlType = sqlTypes[type];
  // The collation "C" folds the letters A to Z and nothing else, on every server.
  if (operator === 'contains') return `strpos(lower(${column}::text COLLATE "C"), ${place}::text) > 0`;
  if (operator === 'in') return `${column} = ANY (${place}::${sqlType}[])`;
  if (operator === 'notIn') return `(${column} <> ALL (${place}::${sqlType}[])) IS NOT FALSE`;
  if (operator === 'ne') return `${column} IS DISTINCT FROM ${place}::${sqlType}`;
  if (operator === 'startsWith') return `${column} ^@ ${place}::text`;
  const compared = `${column} ${sqlOperators[operator]} ${place}::${sqlType}`;
  const ends = indexEnds(condition, place);
  return ends.length === 0 ? compared : `(${[compared, ...ends].join(' AND ')})`;
}

/**
 * What a comparison with a value that rises along the log says about the index. It adds nothing to the comparison but lets
 * a page in index order begin where the matches do, instead of reading up to there.
 */
function indexEnds({ column, operator, risesIn }: Comparison, place: string): string[] {
  if (risesIn === undefined) return [];
  const end = (comparison: string, order: string, bound: '>=' | '<=') =>
    `chain_index ${bound} (SELECT ranged.chain_index FROM ${risesIn} AS ranged
      WHERE ranged.${column} ${comparison} ${place}::timestamptz
      ORDER BY ranged.${column} ${order}, ranged.chain_index ${order} LIMIT 1)`;
  return [
    ...(operator === 'gt' || operator === 'gte' ? [end(sqlOperators[operator], 'ASC', '>=')] : []),
    ...(operator === 'lt' || operator === 'lte' ? [end(sqlOperators[operator], 'DESC', '<=')] : []),
    ...(operator === 'eq' ? [end('>=', 'ASC', '>='), end('<=', 'DESC', '<=')] : []),
  ];
}

/** The same condition as a predicate over a row whose values are text. */
export function conditionToPredicate(condition: Condition): (row: object) => boolean {
  if (condition.kind === 'not') {
    const part = conditionToPredicate(condition.part);
    return (row) => !part(row);
  }
  if (condition.kind !== 'compare') {
    const parts = condition.parts.map(conditionToPredicate);
    return condition.kind === 'and'
      ? (row) => parts.every((part) => part(row))
      : (row) => parts.some((part) => part(row));
  }
  const { property, operator, value, type } = condition;
  const compare = (stored: string, wanted: string) => comparators[type](stored, wanted);
  const single = String(value);
  const listed = new Set(Array.isArray(value) ? (value as readonly string[]) : []);
  const tests: Readonly<Record<Operator, (stored: string | null) => boolean>> = {
    eq: (stored) => stored === single,
    ne: (stored) => stored !== single,
    in: (stored) => stored !== null && listed.has(stored),
    notIn: (stored) => stored === null || !listed.has(stored),
    lt: (stored) => stored !== null && compare(stored, single) < 0,
    lte: (stored) => stored !== null && compare(stored, single) <= 0,
    gt: (stored) => stored !== null && compare(stored, single) > 0,
    gte: (stored) => stored !== null && compare(stored, single) >= 0,
    isNull: (stored) => (stored === null) === value,
    startsWith: (stored) => stored?.startsWith(single) ?? false,
    contains: (stored) => stored !== null && foldCase(stored).includes(single),
  };
  const test = tests[operator];
  return (row) => test(((row as Readonly<Record<string, unknown>>)[property] ?? null) as string | null);
}

const compareText = (left: string, right: string) => Buffer.compare(Buffer.from(left), Buffer.from(right));
const comparators: Readonly<Record<FieldKind, (left: string, right: string) => number>> = {
  // The databases that Daybook creates sort text by bytes.
  text: compareText,
  uuid: compareText,
  integer: compareDecimals,
  decimal: compareDecimals,
  time: compareText,
  json: compareText,
};

/** Only A to Z: what else has two cases differs between PostgreSQL, JavaScript and their versions of Unicode. */
function foldCase(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function badFilter(reason: string): DaybookError {
  return new DaybookError('BAD_USER_INPUT', `filter ${reason}`);
}
