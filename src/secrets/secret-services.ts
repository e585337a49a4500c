import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from '../access/request-calls.js';
import type { Clock } from '../clock.js';
import type { Rotator, SecretType } from '../core/rotation.js';
import type { KeyRing } from '../access/key-ring.js';
import type { WrappedKeys } from '../access/root-key.js';

/** What rotating secrets needs; built by open-secrets.ts. */
export interface SecretServices {
  readonly database: pg.Pool;
  readonly append: Append;
  readonly ring: KeyRing;
  /** Everything that the root key wraps. */
  readonly wrapped: readonly WrappedKeys[];
  readonly rotators: ReadonlyMap<SecretType, Rotator>;
  /** Names this node among those that share the database, for as long as it runs. */
  readonly node: string;
  /** How often the target of each secret is asked about the current value, in milliseconds. */
  readonly driftCheckMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

declare module '../access/request-context.js' {
  interface Services {
    readonly secrets: SecretServices;
  }
}
