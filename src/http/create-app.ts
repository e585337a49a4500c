import type { ApolloServer } from '@apollo/server';
import { expressMiddleware } from '@as-integrations/express5';
import express, { type Express } from 'express';
import type { CallSender } from '../access/request-calls.js';
import type { RequestContext } from '../access/request-context.js';
import type { HealthSources } from '../health/check-health.js';
import { auditRoutes, type AuditRouteSources } from './audit-routes.js';
import { healthRoutes } from './health-routes.js';
import { logRoutes, type LogRouteSources } from './log-routes.js';
import type { Metrics } from './metrics.js';
import { packRoutes, type PackRouteSources } from './pack-routes.js';
import { notFound, requestFault, type RestServices } from './rest-calls.js';
import { secretRoutes, type SecretRouteSources } from './secret-routes.js';
import { readSender } from './sender.js';

/** Largest request body: 1,000 signals with rationales of 16 KB each. */
const requestBodyMax = '16mb';

export interface AppParts {
  readonly apollo: ApolloServer<RequestContext>;
  readonly contextFor: (sender: CallSender) => RequestContext;
  readonly health: HealthSources;
  readonly metrics: Metrics;
  readonly rest: RestServices;
  readonly logs: Omit<LogRouteSources, 'rest'>;
  readonly audit: Omit<AuditRouteSources, 'rest'>;
  readonly packs: Omit<PackRouteSources, 'rest'>;
  readonly secrets: Omit<SecretRouteSources, 'rest'>;
}

/** The HTTP application: health and metrics, GraphQL, and an audited refusal of everything else. */
export function createApp({
  apollo,
  contextFor,
  health,
  metrics,
  rest,
  logs,
  audit,
  packs,
  secrets,
}: AppParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.use((_request, response, next) => {
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Cache-Control', 'no-store');
    next();
  });
  app.use(healthRoutes(health, metrics, rest));
  app.use(logRoutes({ ...logs, rest }));
  app.use(auditRoutes({ ...audit, rest }));
  app.use(packRoutes({ ...packs, rest }));
  app.use(secretRoutes({ ...secrets, rest }));
  app.use(
    '/graphql',
    express.json({ limit: requestBodyMax }),
    expressMiddleware(apollo, {
      context: async ({ req }) => contextFor(await readSender(req, rest.apiKeys, rest.trustedProxies)),
    }),
  );
  app.use(notFound(rest));
  app.use(requestFault(rest));
  return app;
}
