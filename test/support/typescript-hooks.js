import { hash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire, enableCompileCache, registerHooks } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Lets Node run this project's TypeScript where jest does not: in its global set-up, and in processes that a test starts
 * with `node --import` in order to kill them. Tests start hundreds: what was transformed or compiled once is kept.
 */
const require = createRequire(import.meta.url);
const { version } = require('@swc/core/package.json');
const folder = join(tmpdir(), `daybook-typescript-${version}-${process.getuid?.() ?? 'user'}`);
mkdirSync(folder, { recursive: true, mode: 0o700 });
enableCompileCache(join(folder, 'compiled'));

registerHooks({
  resolve: (specifier, context, nextResolve) => {
    const ours = specifier.startsWith('.') && !context.parentURL?.includes('/node_modules/');
    return nextResolve(
      ours && !specifier.includes('typescript-hooks') ? specifier.replace(/\.js$/, '.ts') : specifier,
      context,
    );
  },
  load: (url, context, nextLoad) => {
    if (!url.startsWith('file:') || !url.endsWith('.ts')) {
      return nextLoad(url, context);
    }
    return { format: 'module', source: transform(fileURLToPath(url)), shortCircuit: true };
  },
});

function transform(filename) {
  const source = readFileSync(filename, 'utf8');
  const kept = join(folder, `${hash('sha256', `${filename}\n${source}`)}.js`);
  try {
    return readFileSync(kept, 'utf8');
  } catch {
    // Takes a tenth of a second to load, and is hardly ever needed.
    const { code } = require('@swc/core').transformSync(source, { filename });
    // Whole or not there, whichever process dies when.
    const unfinished = `${kept}.${randomUUID()}`;
    writeFileSync(unfinished, code);
    renameSync(unfinished, kept);
    return code;
  }
}
