import { Router, type Request, type RequestHandler, type Response } from 'express';
import { DaybookError } from '../errors.js';
import { checkHealth, checkReady, type HealthSources } from '../health/check-health.js';
import type { Metrics } from './metrics.js';
import { isLoopback, readSender } from './sender.js';
import type { RestServices } from './rest-calls.js';

/**
 * `/health` and `/health/live` say that the process runs, `/health/ready` that it can serve; all three are open.
 * `/health/detailed`, `/health/database` and `/metrics` answer on loopback or to a valid key.
 */
export function healthRoutes(sources: HealthSources, metrics: Metrics, services: RestServices): Router {
  const router = Router();
  const alive: RequestHandler = (_request, response) => {
    response.json({ status: 'ok' });
  };
  router.get('/health', alive);
  router.get('/health/live', alive);
  router.get('/health/ready', async (_request: Request, response: Response) => {
    const { ready, checks } = await checkReady(sources);
    response.status(ready ? 200 : 503).json({ status: ready ? 'ready' : 'not ready', checks: statusOnly(checks) });
  });
  const guard = onLoopbackOrWithKey(services);
  router.get('/health/detailed', guard, async (_request: Request, response: Response) => {
    const report = await checkHealth(sources);
    response.status(report.status === 'failed' ? 503 : 200).json(report);
  });
  router.get('/health/database', guard, async (_request: Request, response: Response) => {
    const { database } = (await checkReady(sources)).checks;
    response.status(database?.status === 'ok' ? 200 : 503).json(database);
  });
  router.get('/metrics', guard, async (_request: Request, response: Response) => {
    response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
  return router;
}

/** Without facts: this answer is open to everybody. */
function statusOnly(checks: Readonly<Record<string, { readonly status: string }>>): Record<string, string> {
  return Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, check.status]));
}

function onLoopbackOrWithKey(services: RestServices): RequestHandler {
  return async (request, _response, next) => {
    if (isLoopback(request)) return next();
    const { principal } = await readSender(request, services.apiKeys, services.trustedProxies);
    if (principal === null) {
      throw new DaybookError(
        'UNAUTHENTICATED',
        'from another machine this path takes a valid key, as in Authorization: Bearer <key>',
      );
    }
    next();
  };
}
