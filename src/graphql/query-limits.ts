import { maxAliasesRule } from '@escape.tech/graphql-armor-max-aliases';
import { maxDepthRule } from '@escape.tech/graphql-armor-max-depth';
import {
  GraphQLError,
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

/** Throws QUERY_TOO_COMPLEX for an operation whose response could hold more values than one call may ask for. */
export function checkCost(
  schema: GraphQLSchema,
  query: DocumentNode,
  operationName: string | null | undefined,
  variables: Record<string, unknown>,
): void {
  const options = operationName === null || operationName === undefined ? {} : { operationName };
  let cost: number;
  try {
    cost = getComplexity({ schema, query, variables, estimators: [estimator], ...options });
  } catch (error) {
    // Variables that do not fit: the execution itself refuses them, and says which.
    if (error instanceof GraphQLError) return;
    throw error;
  }
  if (cost <= fieldValuesMax) return;
  throw new DaybookError(
    'QUERY_TOO_COMPLEX',
    `the response could hold ${cost} values, more than ${fieldValuesMax}: ask for smaller pages or fewer nested lists`,
  );
}
