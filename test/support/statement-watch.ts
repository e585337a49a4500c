import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';

const POLL_MS = 50;

/** The statements that PostgreSQL shows of its sessions, looked at again and again. */
export interface StatementWatch extends AsyncDisposable {
  /** Every statement seen so far. */
  statements(): readonly string[];
}

/** `url`: of a superuser, who sees the statements of all. `shown`: a text that a session of the watch's own has in its statement. */
export async function watchStatements(url: string, shown: string): Promise<StatementWatch> {
  const [watch, other] = [new pg.Client(url), new pg.Client(url)];
  const seen = new Set<string>();
  await Promise.all([watch.connect(), other.connect()]);
  await other.query(`SELECT ${other.escapeLiteral(shown)}`);
  let isWatching = true;
  let ending: Promise<unknown> | undefined;
  const watching = (async () => {
    while (isWatching) {
      const { rows } = await watch.query<{ query: string }>('SELECT query FROM pg_stat_activity');
      for (const { query } of rows) seen.add(query);
      await pause(POLL_MS);
    }
  })();
  return {
    statements: () => [...seen],
    [Symbol.asyncDispose]: async () => {
      isWatching = false;
      await watching;
      await (ending ??= Promise.all([watch.end(), other.end()]));
    },
  };
}
