import { findFreePort } from './test-server.js';
import { startServiceProcess, type ServiceProcess } from './service-process.js';
import { adminKey, callGraphql, type Answer } from './test-service.js';

/** One of several nodes on a shared database, to be killed and started again. Disposal ends it in order. */
export class KillableNode implements AsyncDisposable {
  #service: ServiceProcess | null = null;
  #kills = 0;
  /** What refused calls said that should not be called again; a kill never leads to such an answer. */
  readonly refusals: string[] = [];

  private constructor(
    /** Also the name of all its sessions in pg_stat_activity. */
    readonly name: string,
    readonly dataDir: string,
    readonly url: string,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  /** `databaseUrl`: of a superuser. */
  static async start(options: {
    readonly name: string;
    readonly dataDir: string;
    readonly databaseUrl: string;
    readonly environment: Readonly<Record<string, string>>;
  }): Promise<KillableNode> {
    const port = String(await findFreePort());
    const databaseUrl = new URL(options.databaseUrl);
    databaseUrl.searchParams.set('application_name', options.name);
    const node = new KillableNode(options.name, options.dataDir, `http://127.0.0.1:${port}`, {
      DAYBOOK_ADMIN_KEY: adminKey,
      DAYBOOK_LOG_LEVEL: 'warn',
      ...options.environment,
      DAYBOOK_DATA_DIR: options.dataDir,
      DAYBOOK_PORT: port,
      DATABASE_URL: databaseUrl.href,
    });
    await node.start();
    return node;
  }

  get isUp(): boolean {
    return this.#service !== null;
  }

  get kills(): number {
    return this.#kills;
  }

  /** Returns once it is ready. */
  async start(): Promise<void> {
    this.#service = await startServiceProcess(this.environment);
  }

  async kill(): Promise<void> {
    const service = this.#service;
    this.#service = null;
    if (service === null) throw new Error(`${this.name} does not run`);
    await service.end('SIGKILL');
    this.#kills += 1;
  }

  /** Ends it in order and returns the exit code. */
  async stop(): Promise<number | null> {
    const service = this.#service;
    this.#service = null;
    return (await service?.end('SIGTERM')) ?? null;
  }

  /** The answer without errors; null where the node is down or says that the call can be tried again. */
  async call(query: string, variables?: Record<string, unknown>): Promise<NonNullable<Answer['data']> | null> {
    const answer = await callGraphql(this.url, query, variables).catch(() => null);
    if (answer === null) return null;
    for (const { message, extensions } of answer.errors ?? []) {
      if (!extensions.retryable) this.refusals.push(`${this.name}: ${extensions.code}: ${message}`);
    }
    return answer.errors === undefined ? (answer.data ?? null) : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
