import type { Command } from 'commander';
import { pino } from 'pino';
import { secretlessLog } from '../access/secretless-log.js';
import { readConfig } from '../config.js';
import { openContext } from '../context.js';
import { startServer } from '../server.js';

/**
 * `daybook serve`: migrates and serves until SIGINT or SIGTERM, then drains: feeds are told to go elsewhere, requests
 * under way are answered, accepted appends become durable, and the embedded server stops. A second signal ends at once.
 */
export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('migrate the database and serve the API')
    .action(async () => {
      const config = readConfig();
      const output = pino.destination({ dest: 2, sync: true });
      const log = secretlessLog(pino({ level: config.logLevel, base: undefined }, output));
      const stop = new AbortController();
      const stopped = new Promise<void>((resolve) =>
        stop.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      for (const name of ['SIGINT', 'SIGTERM'] as const) {
        process.on(name, () => {
          if (stop.signal.aborted) process.exit(130);
          log.info({ signal: name }, 'stopping: requests under way are finished first');
          stop.abort();
        });
      }
      try {
        await using context = await openContext(config, log, stop.signal);
        await using server = await startServer(context);
        if (context.madeAdminKey !== null) {
          console.log(
            `First ADMIN key, shown once and kept in ${context.madeAdminKey.file}:\n  ${context.madeAdminKey.secret}`,
          );
        }
        console.log(`Daybook is ready at ${server.url} (GraphQL at ${server.url}/graphql). Stop it with Ctrl-C.`);
        await stopped;
      } catch (error) {
        // Whoever stops a start that is under way wanted it to end.
        if (!stop.signal.aborted) throw error;
      }
      log.info('stopped');
    });
}
