import type { Config } from '../src/config.js';
import { benchKey, createBenchFolder, type BenchDatabase } from './bench-database.js';
import { startChild, type Child } from './child.js';
import type { LoadTarget } from './http-load.js';
import type { DaybookOptions } from './servers/daybook.js';

/** Connections that serve queries, for each server that is measured. */
export const poolSize = 8;

/** A node in a process of its own. */
export interface DaybookNode extends AsyncDisposable {
  readonly child: Child;
  readonly target: LoadTarget;
}

/** Starts a node on the bench's database. `recordsCalls`: false leaves out the entry of each call. */
export async function startDaybookNode(
  database: BenchDatabase,
  recordsCalls = true,
  settings: Partial<Config> = {},
): Promise<DaybookNode> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await createBenchFolder());
  const child = stack.use(startChild('./servers/daybook.js'));
  const config = { ...folder.config, databaseUrl: database.urls.superuser, databasePoolSize: poolSize, ...settings };
  const url = await child.ask<string>('start', { config, recordsCalls } satisfies DaybookOptions);
  const owned = stack.move();
  return {
    child,
    target: { url: `${url}/graphql`, headers: { authorization: `Bearer ${benchKey}` } },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
