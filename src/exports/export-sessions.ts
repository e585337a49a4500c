import pg from 'pg';
import type { LoginSource } from '../db/login.js';
import { ledgerConnection } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { beginSnapshot, endSnapshot } from '../ledger/verify-snapshot.js';

/** Exports that run at a time: each holds a connection and a snapshot for as long as its reader takes. */
const sessionsMax = 4;

/** No page of an export takes longer to read, in milliseconds; a filter without an index scans the whole log. */
const statementMsMax = 300_000;

/** A connection of its own in a snapshot; disposing gives both back. */
export interface ExportSession extends AsyncDisposable {
  readonly client: pg.Client;
}

/**
 * Opens the snapshots that exports read from, apart from the pool, so that slow readers take no connection from the API.
 * A snapshot keeps PostgreSQL from cleaning up behind it, so whoever opens one bounds how long a reader may stall.
 */
export class ExportSessions {
  #open = 0;

  /** `login`: the application's. */
  constructor(private readonly login: LoginSource) {}

  /** Throws EXPORTS_BUSY while four are open. */
  async open(): Promise<ExportSession> {
    if (this.#open >= sessionsMax) {
      throw new DaybookError('EXPORTS_BUSY', `${sessionsMax} exports run already: retry when one has ended`);
    }
    this.#open += 1;
    const client = new pg.Client(ledgerConnection(this.login, 'daybook export'));
    // One that breaks between two queries is reported by the next.
    client.on('error', () => undefined);
    const close = async () => {
      this.#open -= 1;
      await client.end().catch(() => undefined);
    };
    try {
      await client.connect();
      await beginSnapshot(client);
      await client.query(`SET LOCAL statement_timeout = ${statementMsMax}`);
    } catch (error) {
      await close();
      throw error;
    }
    return {
      client,
      [Symbol.asyncDispose]: async () => {
        await endSnapshot(client);
        await close();
      },
    };
  }
}
