import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformFileSync } from '@swc/core';

/**
 * Lets Node run this project's TypeScript where jest does not: in its global set-up, and in processes that a test starts
 * with `node --import` in order to kill them.
 */
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
    return { format: 'module', source: transformFileSync(fileURLToPath(url)).code, shortCircuit: true };
  },
});
