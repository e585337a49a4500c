import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PACKAGES = '/usr/share/gocode';

/** A question to Go's verifiers (foreign-verifier/main.go); bytes go as base64. */
export type Question =
  | { ask: 'note'; note: Uint8Array; keys: readonly string[] }
  | { ask: 'record'; proof: readonly Uint8Array[]; size: number; root: Uint8Array; index: number; body: Uint8Array }
  | {
      ask: 'tree';
      proof: readonly Uint8Array[];
      size: number;
      root: Uint8Array;
      /** Size of the earlier tree. */
      index: number;
      fromRoot: Uint8Array;
    }
  | { ask: 'tiles'; size: number; root: Uint8Array; tiles: Readonly<Record<string, Uint8Array>> }
  | { ask: 'path'; path: string };

interface Answer {
  readonly accepted: boolean;
  readonly error?: string;
  /** Of a note: what is signed, and `name+key id` of those whose signatures are good. */
  readonly text?: string;
  readonly signers?: readonly string[];
  /** Of tiles: the hash of every record, in base64. */
  readonly hashes?: readonly string[];
  /** Of a path. */
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/** Verifiers that nobody of this project wrote, compiled for this run. */
export interface ForeignVerifier extends AsyncDisposable {
  /** One answer a question, in the same order. */
  ask(questions: readonly Question[]): Answer[];
}

export const hasForeignVerifier =
  spawnSync('go', ['version']).status === 0 && existsSync(join(PACKAGES, 'src/golang.org/x/mod/sumdb/tlog'));

if (!hasForeignVerifier) {
  // eslint-disable-next-line no-console -- a suite that is left out says so where nobody can miss it
  console.warn(
    "LEFT OUT: Go's verifiers of notes, proofs and tiles, for Go or its package golang.org/x/mod is missing " +
      '(apt-get install golang-go golang-golang-x-mod-dev).',
  );
}

export async function buildForeignVerifier(): Promise<ForeignVerifier> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-foreign-'));
  const program = join(folder, 'foreign-verifier');
  // What is installed is enough: nothing is fetched, and no setting of the machine's owner takes part.
  const settings = { GO111MODULE: 'off', GOFLAGS: '', GOPATH: PACKAGES, GOCACHE: join(folder, 'cache') };
  execFileSync('go', ['build', '-o', program, join(import.meta.dirname, 'foreign-verifier/main.go')], {
    env: { ...process.env, ...settings },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return {
    ask: (questions) => {
      const input = questions.map((question) => `${JSON.stringify(question, bytesAsBase64)}\n`).join('');
      const output = execFileSync(program, { input, maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' });
      const answers = output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Answer);
      if (answers.length !== questions.length)
        throw new Error(`${answers.length} answers to ${questions.length} questions`);
      return answers;
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, maxRetries: 5 }),
  };
}

function bytesAsBase64(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
    : value;
}
