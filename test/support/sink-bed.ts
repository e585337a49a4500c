import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { pino } from 'pino';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { LogTail } from '../../src/ledger/tail-log.js';
import { ElasticsearchTarget } from '../../src/sinks/elasticsearch-target.js';
import { readSinksFile, type SinkConfig } from '../../src/sinks/sink-config.js';
import { ensureSink, readSinks, type SinkRow } from '../../src/sinks/sink-rows.js';
import { SinkRunner } from '../../src/sinks/sink-runner.js';
import type { SinkTarget } from '../../src/sinks/sink-target.js';
import { SyslogTarget } from '../../src/sinks/syslog-target.js';
import { WebhookTarget } from '../../src/sinks/webhook-target.js';
import { sampleEntry } from './sample-entries.js';
import { createTestDatabase, type TestDatabase } from './test-database.js';
import { waitUntil } from './wait-until.js';

const log = pino({ level: 'silent' });

/** What is in the file `secret` of the bed's folder. */
export const sinkSecret = 'a secret that only tests know';

/** 0 … `to` − 1. */
export const count = (to: number) => Array.from({ length: to }, (_, place) => place);

/** A ledger, and one sink over a network that delivers from it as a node would. */
export interface SinkBed extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly pool: pg.Pool;
  readonly writer: LedgerWriter;
  readonly folder: string;
  append(entries: number, details?: object): Promise<void>;
  /** Starts a runner for a sink of the file that a user would write; it ends with `running`, or with the bed. */
  deliver(
    sink: Record<string, unknown>,
    options?: { readonly running?: AsyncDisposableStack; readonly firstPauseMs?: number },
  ): Promise<SinkRunner>;
  row(): Promise<SinkRow>;
  /** Returns when everything before the index is acknowledged. */
  reached(position: number): Promise<void>;
}

export async function makeSinkBed(): Promise<SinkBed> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const folder = await mkdtemp(join(tmpdir(), 'daybook-sink-'));
  stack.defer(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'secret'), sinkSecret);
  const url = database.urls.application;
  const writer = stack.use(new LedgerWriter({ url, queueRowsMax: 50_000, log }));
  const pool = openPool(ledgerConnection(url, 'test'), () => undefined);
  stack.defer(() => pool.end());
  const runners = stack.use(new AsyncDisposableStack());
  const row = async () => (await readSinks(pool))[0]!;
  const bed = {
    ...{ database, pool, writer, folder, row },
    append: async (entries: number, details: object = {}) => {
      const made = count(entries).map((place) => sampleEntry(`order ${place}`, { details: JSON.stringify(details) }));
      await writer.append({ callEntries: made });
    },
    deliver: async (sink: Record<string, unknown>, { running = runners, firstPauseMs = 20 } = {}) => {
      const file = join(folder, 'sinks.json');
      await writeFile(file, JSON.stringify({ sinks: [{ name: 'sink', ...sink }] }));
      const [config] = await readSinksFile(file);
      const tail = new LogTail({ url, log: 'audit', logger: log, onBroken: () => undefined });
      running.use(tail);
      await tail.start();
      const { number } = await ensureSink(pool, { ...config!, place: '', target: 'target' });
      const rewind = () => Promise.reject(new Error('a network target never ends before its position'));
      const runner = new SinkRunner({
        ...{ name: 'sink', number, target: targetOf(config!), tail, url, rewind, log, firstPauseMs },
      });
      running.use(runner).start();
      return runner;
    },
    reached: async (position: number) => {
      await waitUntil(`entry ${position} is acknowledged`, async () => Number((await row()).position) >= position);
    },
  };
  const owned = stack.move();
  return { ...bed, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function targetOf(config: SinkConfig): SinkTarget {
  const product = { name: 'daybook', version: '1' };
  switch (config.kind) {
    case 'syslog':
      return new SyslogTarget(config, { product, hostname: 'host' });
    case 'elasticsearch':
      return new ElasticsearchTarget(config);
    case 'webhook':
      return new WebhookTarget(config, { nowMs: () => Date.now() });
    case 'jsonl':
    case 'ecs':
      throw new Error('not over a network');
  }
}
