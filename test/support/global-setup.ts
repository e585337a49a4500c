import './typescript-hooks.js';
import { chmod, mkdtemp, writeFile } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Starts the embedded server that all test databases of this run live in. */
export default async function globalSetup(): Promise<void> {
  const { startEmbeddedPostgres } = await import('../../src/db/embedded-postgres.js');
  const { SERVER_VARIABLE, findFreePort } = await import('./test-server.js');
  const { pino } = await import('pino');
  const dataDir = await mkdtemp(join(tmpdir(), 'daybook-test-'));
  await chmod(dataDir, 0o711);
  const port = await findFreePort();
  const server = await startEmbeddedPostgres({ dataDir, port, log: pino({ level: 'silent' }) });
  const file = join(dataDir, 'test-server.json');
  await writeFile(file, JSON.stringify({ dataDir, port, adminUrl: server.url }), { mode: 0o600 });
  process.env[SERVER_VARIABLE] = file;
  globalThis.stopTestServer = async () => {
    await server.stop();
    rmSync(dataDir, { recursive: true, maxRetries: 5 });
  };
}

declare global {
  var stopTestServer: (() => Promise<void>) | undefined;
}
