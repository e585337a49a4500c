import { maxAliasesRule } from '@escape.tech/graphql-armor-max-aliases';
import { maxDepthRule } from '@escape.tech/graphql-armor-max-depth';
import {
  GraphQLError,
  visit,
  type ASTNode,
  type DocumentNode,
  type GraphQLSchema,
  type ValidationContext,
  type ValidationRule,
} from 'graphql';
import { getComplexity, type ComplexityEstimator } from 'graphql-query-complexity';
import { DaybookError } from '../errors.js';
import { pageRowsDefault } from '../ledger/read-entries.js';

/** Tokens of a document; a mutation with 1,000 signals belongs into variables. */
export const tokensMax = 10_000;
/** Aliases of a document: each aliased root field is a call with an entry of its own. */
const aliasesMax = 100;
/** Levels of a document; introspection needs 13 of them. */
const levelsMax = 16;
/** Field values that one response may hold. */
const fieldValuesMax = 200_000;

/** The rules would throw out of the validation; reported, the error takes the way of every other one. */
const reporting = {
  propagateOnRejection: false,
  onReject: [(context: ValidationContext | null, error: GraphQLError) => context?.reportError(error)],
};

/** Rules that refuse a document for its shape alone. */
export const limitRules: readonly ValidationRule[] = [
  maxAliasesRule({ n: aliasesMax, ...reporting }),
  maxDepthRule({ n: levelsMax, ignoreIntrospection: false, ...reporting }),
];

/** The armor rules report with these words; GraphQL's own parser with the other ones. */
const limitMessage = /limit of \d+ exceeded|more tha[nt] \d+ tokens/;

/** True where a document was refused for its size, not for what it says. */
export function isLimitMessage(message: string): boolean {
  return limitMessage.test(message);
}

const estimator: ComplexityEstimator = ({ args, childComplexity, field }) => {
  const isConnection = field.args.some((argument) => argument.name === 'first');
  if (!isConnection) return 1 + childComplexity;
  const { first, last } = args as { first?: number; last?: number };
  return 1 + Math.max(0, first ?? last ?? pageRowsDefault) * childComplexity;
};

/** Answers of one document that are remembered. */
const answersMax = 100;

/** What a document's cost depends on beside itself, and for which of it the document was found affordable. */
interface KnownCost {
  readonly variables: readonly string[];
  readonly affordable: Set<string>;
}

/** Servers parse a document that comes again only once, so it is the same object. */
const knownCosts = new WeakMap<DocumentNode, KnownCost>();

/** Throws QUERY_TOO_COMPLEX for an operation whose response could hold more values than one call may ask for. */
export function checkCost(
  schema: GraphQLSchema,
  query: DocumentNode,
  operationName: string | null | undefined,
  variables: Record<string, unknown>,
): void {
  const known = knownCosts.get(query) ?? { variables: costVariables(query), affordable: new Set<string>() };
  knownCosts.set(query, known);
  const key = JSON.stringify([operationName, known.variables.map((name) => variables[name])]);
  if (known.affordable.has(key)) return;
  const cost = measureCost(schema, query, operationName, variables);
  if (cost === null) return;
  if (cost > fieldValuesMax) {
    throw new DaybookError(
      'QUERY_TOO_COMPLEX',
      `the response could hold ${cost} values, more than ${fieldValuesMax}: ask for smaller pages or fewer nested lists`,
    );
  }
  if (known.affordable.size >= answersMax) known.affordable.clear();
  known.affordable.add(key);
}

/** Names of the variables that say how long a page is or whether a field is there. */
function costVariables(query: DocumentNode): string[] {
  const names = new Set<string>();
  const addVariables = (node: ASTNode) => visit(node, { Variable: (variable) => void names.add(variable.name.value) });
  visit(query, {
    Directive: (node) => void addVariables(node),
    Argument: (node) => {
      if (['first', 'last'].includes(node.name.value)) addVariables(node);
    },
  });
  return [...names];
}

/** Field values that the response could hold; null for variables that do not fit, which the execution itself refuses. */
function measureCost(
  schema: GraphQLSchema,
  query: DocumentNode,
  operationName: string | null | undefined,
  variables: Record<string, unknown>,
): number | null {
  const options = operationName === null || operationName === undefined ? {} : { operationName };
  try {
    return getComplexity({ schema, query, variables, estimators: [estimator], ...options });
  } catch (error) {
    if (error instanceof GraphQLError) return null;
    throw error;
  }
}
