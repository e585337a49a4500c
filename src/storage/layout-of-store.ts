import type { ObjectStore } from './object-store.js';

/** A log's static layout as the verifier reads it (LayoutReader there, which imports nothing of the service's). */
export interface StoreLayout {
  /** For people. */
  readonly description: string;
  /** The latest version of an object; null where there is none. Throws as the store does. */
  read(path: string): Promise<Uint8Array | null>;
  /** Paths of the objects right below `prefix`, which ends in "/", ascending. Throws as the store does. */
  list(prefix: string): AsyncIterable<string>;
}

/** The layout below `prefix`, such as `audit`; of the whole store with the empty text. */
export function storeLayout(store: Pick<ObjectStore, 'description' | 'read' | 'list'>, prefix: string): StoreLayout {
  const before = prefix === '' ? '' : `${prefix}/`;
  return {
    description: prefix === '' ? store.description : `${prefix} in ${store.description}`,
    read: async (path) => (await store.read(before + path))?.bytes ?? null,
    async *list(within) {
      for await (const key of store.list(before + within)) {
        const path = key.slice(before.length);
        if (!path.slice(within.length).includes('/')) yield path;
      }
    },
  };
}
