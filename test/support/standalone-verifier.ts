import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Outcome } from './run-script.js';

const root = join(import.meta.dirname, '../..');

/** The verifier bundled into one file below `folder`, to be run with nothing around it: an empty environment. */
export async function bundleVerifier(folder: string): Promise<(...args: string[]) => Promise<Outcome>> {
  const place = join(folder, 'verifier');
  const program = join(place, 'daybook-verify.js');
  await mkdir(place, { recursive: true });
  await writeFile(join(place, 'package.json'), '{"type":"module"}');
  await build({
    entryPoints: [join(root, 'src/verifier/main.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
  });
  return (...args) =>
    new Promise((done) => {
      execFile(process.execPath, [program, ...args], { cwd: place, env: {} }, (err, stdout, stderr) => {
        done({ exitCode: err === null ? 0 : Number(err.code), stdout, stderr });
      });
    });
}
