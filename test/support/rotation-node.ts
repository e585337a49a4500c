import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { RotationOrder } from './rotation-process.js';
import type { TestService } from './test-service.js';
import { waitUntil } from './wait-until.js';

const root = join(import.meta.dirname, '../..');
const script = ['--import', './test/support/typescript-hooks.js', 'test/support/rotation-process.ts'];

/** A node in a process of its own, which works on rotations as far as it is told and can be killed or paused there. */
export class RotationNode {
  #output = '';

  private constructor(private readonly child: ChildProcess) {
    child.stdout?.on('data', (chunk) => (this.#output += String(chunk)));
  }

  static async start(service: TestService): Promise<RotationNode> {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...script], {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        DAYBOOK_LOG_LEVEL: 'fatal',
        DAYBOOK_DATA_DIR: service.context.config.dataDir,
        DATABASE_URL: service.database.urls.superuser,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const node = new RotationNode(child);
    await node.#said('ready');
    return node;
  }

  /** Works on the rotations, or on all that is due, until each is held up at `halt`. */
  async halt(halt: string, rotations?: readonly string[], isRollBack = false): Promise<void> {
    this.order({ halt, isRollBack, ...(rotations === undefined ? {} : { rotations }) });
    for (const id of rotations ?? ['due']) {
      await this.#said(`halted ${id}`).catch((error: unknown) => {
        throw new Error(`not halted at ${halt}: ${String(error)}\n${this.#output}`);
      });
    }
  }

  order(order: RotationOrder): void {
    this.child.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  /** Works on all that is due, until nothing is. */
  async work(): Promise<void> {
    const before = this.#count('done due');
    this.order({ halt: null });
    await waitUntil('a node has done what is due', () => this.#count('done due') > before);
  }

  #count(line: string): number {
    return this.#output.split('\n').filter((each) => each === line).length;
  }

  /** Stops the whole process where it is; nothing of it goes on before `resume`. */
  pause(): void {
    this.child.kill('SIGSTOP');
  }

  /** Lets it go on from where it was paused and held up, until it has let go of the rotations. */
  async resume(rotations: readonly string[]): Promise<void> {
    this.child.kill('SIGCONT');
    this.child.stdin?.write('go\n');
    for (const id of rotations) await this.#said(`done ${id}`);
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }

  async #said(line: string): Promise<void> {
    await waitUntil(`a node says ${line}`, () => {
      if (this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}:\n${this.#output}`);
      return this.#output.split('\n').includes(line);
    });
  }
}

/** Keeps nodes ready, so that a test waits for the start of the first one alone. Disposal kills every node it started. */
export class RotationNodes implements AsyncDisposable {
  readonly #all: Promise<RotationNode>[] = [];
  readonly #ready: Promise<RotationNode>[] = [];

  constructor(
    private readonly service: TestService,
    /** How many are started ahead. */
    private readonly ahead: number,
  ) {
    this.#fill();
  }

  /** A node that was started before it was asked for. */
  async take(): Promise<RotationNode> {
    this.#fill();
    const node = this.#ready.shift();
    if (node === undefined) throw new Error('no node is kept ready');
    return node;
  }

  #fill(): void {
    while (this.#ready.length <= this.ahead) {
      const node = RotationNode.start(this.service);
      // Reported where it is taken.
      node.catch(() => undefined);
      this.#all.push(node);
      this.#ready.push(node);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of await Promise.allSettled(this.#all)) {
      if (node.status === 'fulfilled') await node.value.kill();
    }
  }
}
