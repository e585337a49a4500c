import type { ObjectStore } from '../../src/storage/object-store.js';

/** Far more than a fair share of lost races. */
const TRIES_MAX = 500;

/** Appends `count` lines to the object, one at a time, each on top of exactly what it read, however often that takes. */
export async function appendTokens(store: ObjectStore, key: string, name: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    let tries = 0;
    while (!(await tryAppend(store, key, `${name}-${index}`))) {
      if (++tries === TRIES_MAX) throw new Error(`${name} lost ${TRIES_MAX} races for ${key}`);
    }
  }
}

/** The lines of the object, in the order in which they came. */
export async function readTokens(store: ObjectStore, key: string): Promise<string[]> {
  const object = await store.read(key);
  return object === null ? [] : Buffer.from(object.bytes).toString().trimEnd().split('\n');
}

async function tryAppend(store: ObjectStore, key: string, token: string): Promise<boolean> {
  const object = await store.read(key);
  const text = object === null ? '' : Buffer.from(object.bytes).toString();
  // A try that was told that it lost, or was told nothing, may have been built upon all the same.
  if (text.split('\n').includes(token)) return true;
  const condition = object === null ? { ifAbsent: true as const } : { ifMatch: object.etag };
  try {
    await store.write(key, Buffer.from(`${text}${token}\n`), condition);
    return true;
  } catch (err) {
    // Ceph 16 answers 500 where two replace one etag in a bucket without versions: that is retryable too.
    if ((err as { retryable?: boolean }).retryable) return false;
    throw err;
  }
}
