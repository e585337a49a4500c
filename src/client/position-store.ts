import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Where a follower keeps the cursor of the last frame it handled. */
export interface PositionStore {
  /** Null when nothing was stored yet. */
  load(): Promise<string | null>;
  /** Must be durable when it resolves: what lies before the cursor is never delivered again. */
  store(cursor: string): Promise<void>;
}

/**
 * Keeps the position in a file. Storing writes a second file, makes it durable and renames it over the first: a crash
 * leaves the old position or the new one, never half of one.
 */
export function filePositionStore(path: string): PositionStore {
  return {
    async load() {
      let text: string;
      try {
        text = (await readFile(path, 'utf8')).trim();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
      if (!/^\d+$/.test(text)) throw new Error(`${path} does not hold a cursor: mend or remove it`);
      return text;
    },
    async store(cursor) {
      const next = `${path}.next`;
      await using file = await open(next, 'w', 0o600);
      await file.writeFile(`${cursor}\n`);
      await file.sync();
      await rename(next, path);
      await using folder = await open(dirname(path), 'r');
      await folder.sync();
    },
  };
}
