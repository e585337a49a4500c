import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PackManifest } from './core/pack-manifest.js';

/** Up from `src/` in a checkout, from `dist/src/` when built. */
const roots = [join(import.meta.dirname, '..'), join(import.meta.dirname, '..', '..')];
const fullCommit = /^[0-9a-f]{40}$/;

/** Which program this is: name and version of package.json, and the commit where it runs from a git checkout. */
export function readGenerator(): PackManifest['generator'] {
  for (const root of roots) {
    const text = readIfThere(join(root, 'package.json'));
    if (text === null) continue;
    const { name, version } = JSON.parse(text) as { name: string; version: string };
    return { name, version, git_commit: readCommit(join(root, '.git')) };
  }
  return { name: 'daybook', version: 'unknown', git_commit: null };
}

/** The commit that HEAD names, by itself or through a branch that is stored loose or packed; null elsewhere. */
function readCommit(gitFolder: string): string | null {
  const head = readIfThere(join(gitFolder, 'HEAD'))?.trim() ?? '';
  if (fullCommit.test(head)) return head;
  const [, branch] = /^ref: (refs\/[\w./-]+)$/.exec(head) ?? [];
  if (branch === undefined || branch.includes('..')) return null;
  const loose = readIfThere(join(gitFolder, branch))?.trim();
  if (loose !== undefined && fullCommit.test(loose)) return loose;
  const packed = readIfThere(join(gitFolder, 'packed-refs'))?.split('\n') ?? [];
  return packed.find((line) => line.endsWith(` ${branch}`))?.slice(0, 40) ?? null;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}
