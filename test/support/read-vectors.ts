import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The golden vectors of `thing` as [case, content]: one file a case, named after it. `Case` is what a file holds. */
export function readVectors<Case>(thing: string, kind: 'valid' | 'invalid'): [string, Case][] {
  const folder = join(import.meta.dirname, '../vectors', thing, kind);
  const names = readdirSync(folder).sort();
  if (names.length === 0) throw new Error(`there are no vectors in ${folder}`);
  return names.map((name) => [
    name.replace(/\.json$/, '').replaceAll('-', ' '),
    JSON.parse(readFileSync(join(folder, name), 'utf8')) as Case,
  ]);
}
