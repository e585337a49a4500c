import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from '../access/request-calls.js';
import type { Clock } from '../clock.js';
import type { LoginSource } from '../db/login.js';
import type { LogName } from '../ledger/rows.js';
import type { ObjectStore } from '../storage/object-store.js';

/** What archiving, removing and bringing back needs; built by open-retention.ts. */
export interface RetentionServices {
  readonly database: pg.Pool;
  /** Login of the application, for statements that take longer than the pool allows. */
  readonly url: LoginSource;
  readonly append: Append;
  /** Where archives are kept; null for nowhere: then nothing is archived, and nothing removed. */
  readonly store: ObjectStore | null;
  readonly originOf: (log: LogName) => string;
  /** The text as a note that the audit log's keys signed. Throws SIGNING_UNAVAILABLE on a node that cannot. */
  readonly signNote: (text: string) => string;
  /** Days that copies of archived entries stay after they were brought back. */
  readonly restoredDays: number;
  readonly clock: Clock;
  readonly log: Logger;
}

declare module '../access/request-context.js' {
  interface Services {
    readonly retention: RetentionServices;
  }
}
