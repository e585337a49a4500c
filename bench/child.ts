import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** How long a child may take to end once it is asked to. */
const endWaitMs = 20_000;
/** Characters of a child's output that are kept, for the message in case it fails. */
const outputCharactersMax = 4_000;

/** What a parent asks by name, with an argument; the child's answer carries the same number. */
export interface Question {
  readonly number: number;
  readonly name: string;
  readonly argument: unknown;
}

export interface Answer {
  readonly number: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** A process of its own, so that its processor time can be told apart. */
export interface Child extends AsyncDisposable {
  /** Asks the child, which was started with `answerParent`. Throws what the child threw, and when it ended. */
  ask<Value>(name: string, argument?: unknown): Promise<Value>;
}

/** Starts a module of this folder as a child process. */
export function startChild(module: string): Child {
  const child = fork(new URL(module, import.meta.url), [], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // As servers run in service: without the checks and remarks that some make for their developers.
    env: { ...process.env, NODE_ENV: 'production', GRAPHILE_ENV: 'production' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-outputCharactersMax)));
  }
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let asked = 0;
  child.on('message', ({ number, value, error }: Answer) => {
    const question = waiting.get(number);
    waiting.delete(number);
    if (error === undefined) question?.resolve(value);
    else question?.reject(new Error(`${module}: ${error}`));
  });
  child.once('exit', (code) => {
    for (const question of waiting.values()) question.reject(new Error(`${module} ended with ${code}: ${output}`));
    waiting.clear();
  });
  return {
    ask: <Value>(name: string, argument?: unknown) => {
      const question = Promise.withResolvers<unknown>();
      const number = (asked += 1);
      waiting.set(number, question);
      child.send({ number, name, argument } satisfies Question, (error) => {
        if (error !== null) question.reject(error);
      });
      return question.promise as Promise<Value>;
    },
    [Symbol.asyncDispose]: () => endChild(child),
  };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.disconnect();
  const timer = setTimeout(() => child.kill('SIGKILL'), endWaitMs);
  await exited;
  clearTimeout(timer);
}
