import type { Append } from '../access/request-calls.js';
import type { WrappedKeys } from '../access/root-key.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';

/**
 * Has the current root key wrap every key that a former one wrapped. All are stored together with the `RootKeyChanged` entry, or none:
 * a crash before leaves each key under the root key that it had, and calling it again is harmless. Returns the names of the keys.
 * Throws ROTATION_CONFLICT where one of them was changed meanwhile, and what the root keys throw.
 */
export async function rewrapKeys(
  { append, wrapped }: { readonly append: Append; readonly wrapped: readonly WrappedKeys[] },
  origin: CallOrigin,
): Promise<string[]> {
  const rewrapped = (await Promise.all(wrapped.map((keys) => keys.rewrapAll()))).flat();
  const [first] = rewrapped;
  if (first === undefined) return [];
  const entry = serviceEntry({
    ...origin,
    category: 'SECRET',
    event: 'RootKeyChanged',
    action: 'UPDATE',
    resource: 'root-key',
    details: encodeCanonicalJson({
      from: [...new Set(rewrapped.map(({ from }) => from))].sort(),
      keys: rewrapped.map(({ key }) => key),
      to: first.to,
    }),
  });
  await append({
    entries: [entry],
    alongside: async (client) => {
      for (const { key, store } of rewrapped) {
        // Raised by the database, so that nothing of this stays and what others append in the same transaction does.
        if (!(await store(client))) await client.query('SELECT daybook.refuse_rotation($1)', [key]);
      }
    },
  });
  return rewrapped.map(({ key }) => key);
}
