import { ApolloServer } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
} from '@apollo/server/plugin/disabled';
import type { GraphQLSchema } from 'graphql';
import { formatError } from '../graphql/format-error.js';
import { limitRules, tokensMax } from '../graphql/query-limits.js';
import { recordCallsPlugin } from '../graphql/record-calls-plugin.js';
import type { RequestContext, Services } from '../access/request-context.js';

/** Apollo Server over the schema, with the limits on documents and the recording of calls. */
export function createApolloServer(
  schema: GraphQLSchema,
  services: Pick<Services, 'log' | 'redactor'>,
): ApolloServer<RequestContext> {
  const { log } = services;
  return new ApolloServer<RequestContext>({
    schema,
    // Typed clients are generated from it; who asks needs a valid key.
    introspection: true,
    includeStacktraceInErrorResponses: false,
    persistedQueries: false,
    allowBatchedHttpRequests: false,
    parseOptions: { maxTokens: tokensMax },
    validationRules: [...limitRules],
    formatError: (formatted, error) => formatError(formatted, error, services),
    stopOnTerminationSignals: false,
    plugins: [
      // Cache hints cost a third of a list's time and nothing here may be cached.
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      recordCallsPlugin(log),
    ],
    logger: {
      debug: (message) => log.debug(message),
      info: (message) => log.info(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    },
  });
}
