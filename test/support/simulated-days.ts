import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { readPassword, withConnection } from '../../src/db/admin-connection.js';
import { deriveRoleUrls, type RoleUrls } from '../../src/db/roles.js';
import { logNames } from '../../src/ledger/rows.js';
import { CheckpointCollector } from './checkpoint-collector.js';
import { createDataFolder } from './data-folder.js';
import { startFakedPostgres, type FakedPostgres } from './faked-postgres.js';
import { haltStep, type HaltedStep } from './halt-step.js';
import { KillableNode } from './killable-node.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from './sql-session.js';
import { signalInput } from './test-service.js';
import { waitUntil } from './wait-until.js';

const dayMs = 24 * 60 * 60 * 1_000;
/** Later than the machine's own time, so that what the nodes' cron asks for is due by the database's clock as well. */
const firstDayMs = Date.UTC(2051, 1, 14);
/** Writers go on after midnight for so many entries each, and stop after so many in any case. */
const writesAfterMidnight = 2;
const writesMax = 10;

const create = `mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id chainIndex } } }`;
const seal = ['SIGNALS', 'AUDIT'].map((log) => `mutation { sealLog(input: { log: ${log} }) { sealed { date } } }`);

/** A recorded signal that a node acknowledged. */
export interface Acknowledged {
  readonly id: string;
  readonly chainIndex: string;
}

/** Two nodes on one database whose days pass as the test tells them to. */
export class SimulatedDays implements AsyncDisposable {
  readonly acknowledged: Acknowledged[] = [];
  /** Starts after kills that are under way; each rejects where its node does not come up. */
  readonly #starts: Promise<void>[] = [];
  #haltedKills = 0;

  private constructor(
    private readonly server: FakedPostgres,
    readonly urls: RoleUrls,
    readonly nodes: readonly [KillableNode, KillableNode],
    readonly collector: CheckpointCollector,
    /** Of the superuser. */
    readonly session: SqlSession,
    readonly store: string,
    private readonly stack: AsyncDisposableStack,
  ) {}

  static async start(startAt: string): Promise<SimulatedDays> {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startFakedPostgres({ startAt }));
    await withConnection(server.adminUrl, async (admin) => {
      await admin.query("CREATE DATABASE daybook TEMPLATE template0 ENCODING 'UTF8'");
    });
    const databaseUrl = new URL('/daybook', server.adminUrl).href;
    const folders = [stack.use(await createDataFolder()).path, stack.use(await createDataFolder()).path] as const;
    const store = join(folders[0], 'store');
    const environment = {
      DAYBOOK_STORE_DIR: store,
      DAYBOOK_MASTER_KEY: '11'.repeat(32),
      DAYBOOK_CHECKPOINT_SECONDS: '0.05',
      DAYBOOK_PUBLISH_SECONDS: '0.05',
    };
    const startNode = async (name: string, dataDir: string) =>
      stack.use(await KillableNode.start({ name, dataDir, databaseUrl, environment }));
    const nodes = [await startNode('left', folders[0]), await startNode('right', folders[1])] as const;
    const collector = stack.use(new CheckpointCollector());
    for (const { name, url, dataDir } of nodes) {
      collector.watchNode(name, url);
      collector.watchFiles(`the folder of ${name}`, (log) => join(dataDir, 'checkpoints', `${log}.checkpoint`));
    }
    collector.watchFiles('the store', (log) => join(store, log, 'checkpoint'));
    const session = stack.use(await openSession(databaseUrl));
    const urls = deriveRoleUrls(databaseUrl, readPassword(databaseUrl)!);
    return new SimulatedDays(server, urls, nodes, collector, session, store, stack.move());
  }

  get kills(): { readonly total: number; readonly halted: number } {
    return { total: this.nodes.reduce((sum, { kills }) => sum + kills, 0), halted: this.#haltedKills };
  }

  /** Sets the database's clock to a time of a day; days are counted from 0. */
  setClock(day: number, time: string): Promise<void> {
    return this.server.setClock(`${dateOf(day)}T${time}Z`);
  }

  /** Lets the day end while both nodes' API and plain SQL are written to. Returns when it is past midnight. */
  async passMidnight(day: number): Promise<void> {
    await this.setClock(day, '23:59:59.850');
    let passed = false;
    const [left, right] = this.nodes;
    const writing = [() => this.createSignal(left), () => this.createSignal(right), () => this.insertRows()].map(
      async (write) => {
        for (let [after, all] = [0, 0]; after < writesAfterMidnight && all < writesMax; all += 1) {
          await write();
          if (passed) after += 1;
          // The writes are few and are to lie on both sides of midnight.
          await pause(randomInt(30));
        }
      },
    );
    await this.waitForDay(day + 1);
    passed = true;
    await Promise.all(writing);
  }

  /** Until the database's clock shows this day. */
  async waitForDay(day: number): Promise<void> {
    await waitUntil('the day begins', async () => (await this.today()) >= dateOf(day));
  }

  async today(): Promise<string> {
    return String(await this.session.value(`SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date::text`));
  }

  async createSignal(node: KillableNode): Promise<void> {
    const data = await node.call(create, { input: signalInput() });
    if (data !== null) this.acknowledged.push((data.createSignal as { signal: Acknowledged }).signal);
  }

  async insertRows(): Promise<void> {
    await this.session.run(randomInt(2) === 0 ? insertSignalsSql(2) : insertEntriesSql(3));
  }

  /** Asks both nodes at once, again and again, until both logs have their root of `day`. */
  async seal(day: number): Promise<void> {
    await waitUntil(`the roots of ${dateOf(day)}`, async () => {
      if (await this.isSealed(day)) return true;
      await this.askToSeal();
      return false;
    });
  }

  /** One call to each node for each log; nodes that are down or are killed meanwhile do not answer. */
  async askToSeal(): Promise<void> {
    await Promise.all(this.nodes.flatMap((node) => seal.map((mutation) => node.call(mutation))));
  }

  async isSealed(day: number): Promise<boolean> {
    const roots = await this.session.value('SELECT count(*) FROM merkle_roots WHERE date = $1', [dateOf(day)]);
    return Number(roots) === logNames.length;
  }

  /** Kills a node, one that runs if there is any, after at most `withinMs`, and has it start again. */
  async killAtRandom(withinMs: number): Promise<void> {
    await pause(randomInt(withinMs));
    const [first, second] = randomInt(2) === 0 ? this.nodes : [this.nodes[1], this.nodes[0]];
    const victim = first.isUp ? first : second;
    if (victim.isUp) await this.#kill(victim);
  }

  /** Kills the node that is in the middle of `step`, which `work` brings about. */
  async killIn(step: HaltedStep, work: () => Promise<unknown>): Promise<void> {
    await this.waitForNodes();
    await haltStep({ databaseUrl: this.urls.superuser, store: this.store }, step, work, async (name) => {
      const victim = this.nodes.find((node) => node.name === name);
      if (victim === undefined) throw new Error(`it was not a node that was held up ${step}, but ${name}`);
      await this.#kill(victim);
      this.#haltedKills += 1;
    });
  }

  /** Until every node that was killed is up again. */
  async waitForNodes(): Promise<void> {
    await Promise.all(this.#starts.splice(0));
  }

  /** Ends all nodes in order and starts them again. */
  async restart(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await Promise.all(this.nodes.map((node) => node.start()));
  }

  async waitForAnchors(): Promise<void> {
    const pending = "SELECT count(*) FROM anchors WHERE status = 'PENDING'";
    await waitUntil('every root is anchored', async () => Number(await this.session.value(pending)) === 0);
  }

  /** Until the store shows the newest checkpoint of each log. */
  async waitForPublication(): Promise<void> {
    const newest = 'SELECT note FROM checkpoints WHERE log = $1 ORDER BY tree_size DESC LIMIT 1';
    for (const log of logNames) {
      await waitUntil(`the ${log} log is published`, async () => {
        const published = await readFile(join(this.store, log, 'checkpoint'), 'utf8');
        return published === (await this.session.value(newest, [log]));
      });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stack.disposeAsync();
  }

  async #kill(node: KillableNode): Promise<void> {
    await node.kill();
    const start = node.start();
    start.catch(() => undefined);
    this.#starts.push(start);
  }
}

/** UTC date of a day, counted from 0. */
export function dateOf(day: number): string {
  return new Date(firstDayMs + day * dayMs).toISOString().slice(0, 10);
}
