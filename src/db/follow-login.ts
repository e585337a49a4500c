import type pg from 'pg';
import type { Login } from './login.js';

/** Told to whoever listens for notifications on a connection of a former login: it has to connect anew. */
export class LoginChanged extends Error {
  constructor() {
    super('the database login has changed: listening goes on with another connection');
  }
}

type Taken = (
  err: Error | undefined,
  client: pg.PoolClient | undefined,
  release: (err?: Error | boolean) => void,
) => void;

/**
 * Makes a pool exchange its connections when the login changes: those that rest at once, borrowed ones when they are given
 * back. Callers who wait for a connection get one of the new login.
 */
export function followLogin(pool: pg.Pool, login: Login): void {
  // Read for each connection that is made.
  Object.defineProperty(pool.options, 'connectionString', { get: () => login.url, enumerable: true });
  const borrowed = new Set<pg.PoolClient>();
  pool.on('acquire', (client) => borrowed.add(client));
  pool.on('release', (_err, client) => borrowed.delete(client));
  const takeAny = pool.connect.bind(pool) as (taken: Taken) => void;
  const take = (taken: Taken): void =>
    takeAny((err, client, release) => {
      if (client === undefined) return taken(err, client, release);
      if (login.isFormer(client)) {
        client.release(true);
        return take(taken);
      }
      const giveBack = (reason?: Error | boolean) => release(reason ?? login.isFormer(client));
      client.release = giveBack;
      taken(undefined, client, giveBack);
    });
  const connect = (taken?: Taken) => (taken === undefined ? promised(take) : take(taken));
  pool.connect = connect as typeof pool.connect;

  const forget = login.onChange(() => {
    for (const client of borrowed)
      if (isListening(client) && login.isFormer(client)) client.emit('error', new LoginChanged());
    // Each look takes one that rests, and ends it where it is a former one.
    for (let resting = pool.idleCount; resting > 0; resting -= 1) {
      takeAny((_err, client) => client?.release(login.isFormer(client)));
    }
  });
  const end = pool.end.bind(pool) as (ended?: () => void) => Promise<void> | void;
  const endFollowing = (ended?: () => void) => {
    forget();
    return end(ended);
  };
  pool.end = endFollowing as typeof pool.end;
}

function promised(take: (taken: Taken) => void): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    take((err, client) => (client === undefined ? reject(err ?? new Error('no connection')) : resolve(client)));
  });
}

/** A borrower that waits for notifications gives nothing back of itself. */
function isListening(client: pg.PoolClient): boolean {
  return client.listenerCount('notification') > 0;
}
