import { createHash, randomBytes } from 'node:crypto';
import { openSecret, sealSecret } from '../core/sealed-secret.js';
import { DaybookError } from '../errors.js';

/** The key that wraps encryption keys. It never enters the database; `id` names it without telling anything about it. */
export interface RootKey {
  readonly id: string;
  /** `context` is bound to the result: what was wrapped for one place does not unwrap in another. */
  wrap(key: Uint8Array, context: string): Promise<Uint8Array>;
  /** Throws SIGNING_UNAVAILABLE where another root key wrapped it, or a byte was changed. */
  unwrap(wrapped: Uint8Array, context: string): Promise<Uint8Array>;
}

/** 32 bytes from a file or the environment. */
export function localRootKey(key: Uint8Array): RootKey {
  const id = createHash('sha256').update('daybook master key\n').update(key).digest('hex').slice(0, 16);
  return {
    id,
    wrap: (secret, context) => Promise.resolve(sealSecret({ key, nonce: randomBytes(12), context, secret })),
    unwrap: (sealed, context) => {
      const opened = openSecret({ key, context, sealed });
      if (opened !== null) return Promise.resolve(opened);
      const message = `a key is sealed with another master key than ${id}: give this node the same master.key or DAYBOOK_MASTER_KEY as the node that made it`;
      return Promise.reject(new DaybookError('SIGNING_UNAVAILABLE', message));
    },
  };
}
