import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { waitUntil } from './wait-until.js';

const root = join(import.meta.dirname, '../..');

/** The service in a process of its own, so that a test can kill it. Disposal ends it in order where it still runs. */
export interface ServiceProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  /** What it printed so far, stdout and stderr together. */
  output(): string;
  /** Sends a signal and waits for the end. Returns the exit code, null after a kill. */
  end(signal: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<number | null>;
}

/** Starts `daybook serve` and waits until it is ready. Fails with its output when it ends instead. */
export async function startServiceProcess(environment: Readonly<Record<string, string>>): Promise<ServiceProcess> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--import', './test/support/typescript-hooks.js', 'src/main.ts', 'serve'],
    { cwd: root, env: { PATH: process.env.PATH, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  await waitUntil('the service is ready', () => {
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}:\n${output}`);
    return output.includes('is ready at');
  });
  const end = async (signal: 'SIGKILL' | 'SIGTERM' | 'SIGINT') => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    }
    return child.exitCode;
  };
  return {
    child,
    output: () => output,
    end,
    [Symbol.asyncDispose]: async () => void (await end('SIGTERM')),
  };
}
