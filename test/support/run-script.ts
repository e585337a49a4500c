import { execFile } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** How a command ended. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a TypeScript file of this project in a process of its own, with nothing but `environment` and the PATH. */
export function runScript(
  file: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const script = ['--import', join(root, 'test/support/typescript-hooks.js'), join(root, file)];
  const env = { PATH: process.env['PATH'], ...environment };
  return new Promise((resolve) => {
    execFile(process.execPath, [...script, ...args], { env }, (err, stdout, stderr) => {
      resolve({ exitCode: err === null ? 0 : Number(err.code), stdout, stderr });
    });
  });
}
