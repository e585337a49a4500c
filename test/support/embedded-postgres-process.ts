import { pino } from 'pino';
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.js';

/** A process to be killed: starts the embedded server in argv[2] on port argv[3], prints its URL and waits for its end. */
const server = await startEmbeddedPostgres({
  dataDir: process.argv[2]!,
  port: Number(process.argv[3]),
  log: pino({ level: 'silent' }),
});
process.stdout.write(`${server.url}\n`);
setInterval(() => undefined, 60_000);
