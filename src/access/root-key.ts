import { createHash, createSecretKey, randomBytes } from 'node:crypto';
import type pg from 'pg';
import { openSecret, sealSecret } from '../core/sealed-secret.js';
import { DaybookError } from '../errors.js';

/** A key as it is stored: its ciphertext, and which root key made it. */
export interface WrappedKey {
  readonly wrapped: Uint8Array;
  readonly rootKeyId: string;
}

/**
 * What wraps the keys that the database keeps: it is never there itself. A root key in a key management service throws
 * ROOT_KEY_UNAVAILABLE and ROOT_KEY_REFUSED from every method.
 */
export interface RootKey {
  /** Names the key that wraps now, without telling anything about it. */
  id(): Promise<string>;
  /** Whether it unwraps what the named root key wrapped. */
  knows(rootKeyId: string): Promise<boolean>;
  /** `context` is bound to the result: what was wrapped for one place does not unwrap in another. */
  wrap(key: Uint8Array, context: string): Promise<WrappedKey>;
  /**
   * The key; the caller overwrites it when it is done. Throws SIGNING_UNAVAILABLE where another root key wrapped it, LEDGER_BROKEN
   * where a byte was changed or the context is another.
   */
  unwrap(key: WrappedKey, context: string): Promise<Uint8Array>;
}

/** 32 bytes from a file or the environment. They are copied out of the heap: the caller can overwrite its own. */
export function localRootKey(bytes: Uint8Array): RootKey {
  const id = createHash('sha256').update('daybook master key\n').update(bytes).digest('hex').slice(0, 16);
  const key = createSecretKey(bytes);
  return {
    id: () => Promise.resolve(id),
    knows: (rootKeyId) => Promise.resolve(rootKeyId === id),
    wrap: (secret, context) => {
      const wrapped = sealSecret({ key, nonce: randomBytes(12), context, secret });
      return Promise.resolve({ wrapped, rootKeyId: id });
    },
    unwrap: ({ wrapped, rootKeyId }, context) => {
      if (rootKeyId !== id) return Promise.reject(wrappedByAnother(rootKeyId));
      const opened = openSecret({ key, context, sealed: wrapped });
      return opened === null ? Promise.reject(alteredKey(context)) : Promise.resolve(opened);
    },
  };
}

/** Wraps with `current`; unwraps what any of them wrapped, so that nothing is lost while a root key is being replaced. */
export function withFormerRootKeys(current: RootKey, former: readonly RootKey[]): RootKey {
  const find = async (rootKeyId: string): Promise<RootKey | null> => {
    for (const root of [current, ...former]) if (await root.knows(rootKeyId)) return root;
    return null;
  };
  return {
    id: () => current.id(),
    knows: async (rootKeyId) => (await find(rootKeyId)) !== null,
    wrap: (key, context) => current.wrap(key, context),
    unwrap: async (key, context) => {
      const root = await find(key.rootKeyId);
      if (root === null) throw wrappedByAnother(key.rootKeyId);
      return root.unwrap(key, context);
    },
  };
}

export function wrappedByAnother(rootKeyId: string): DaybookError {
  return new DaybookError(
    'SIGNING_UNAVAILABLE',
    `a key is wrapped by the root key ${rootKeyId}, which this node does not have: give it the same master.key, DAYBOOK_MASTER_KEY or DAYBOOK_KMS_KEY_ID as the node that made it, or name that one as the former`,
  );
}

export function alteredKey(context: string): DaybookError {
  return new DaybookError('LEDGER_BROKEN', `the stored ${context} was altered: its root key does not open it`);
}

/** Whether an error says that a key cannot be had on this node, or not now, rather than that a call was wrong. */
export function isKeyOutOfReach(error: unknown): error is DaybookError {
  const codes = ['SIGNING_UNAVAILABLE', 'ROOT_KEY_UNAVAILABLE', 'ROOT_KEY_REFUSED', 'LEDGER_BROKEN'];
  return error instanceof DaybookError && codes.includes(error.code);
}

/** What unwrapping a stored key says of it: altered, or, on a node that cannot reach its root key, nothing. */
export async function probeKey(unwrapping: Promise<void>): Promise<'WORKS' | 'ABSENT' | 'UNKNOWN'> {
  try {
    await unwrapping;
    return 'WORKS';
  } catch (error) {
    if (!isKeyOutOfReach(error)) throw error;
    return error.code === 'LEDGER_BROKEN' ? 'ABSENT' : 'UNKNOWN';
  }
}

/** Whatever keeps keys that the root key wrapped. */
export interface WrappedKeys {
  /** Those that another root key wrapped, wrapped by the current one and not stored yet. Throws what unwrap throws. */
  rewrapAll(): Promise<readonly Rewrapping[]>;
}

/** A key that is wrapped by another root key from the caller's commit on. */
export interface Rewrapping {
  /** Names the key, as `signing-key/0a1b2c3d`. */
  readonly key: string;
  readonly from: string;
  readonly to: string;
  /** Stores it in the caller's transaction. False where the stored key is another by now. */
  readonly store: (client: Pick<pg.Client, 'query'>) => Promise<boolean>;
}
