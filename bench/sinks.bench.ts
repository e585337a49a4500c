import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createGzip } from 'node:zlib';
import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import { startBenchDatabase } from './bench-database.js';
import { startChild } from './child.js';
import type { Bench, BenchContext, Comparison } from './comparison.js';
import { startDaybookNode } from './daybook-node.js';
import { findFreePort } from './free-port.js';
import { HttpLoad, type LoadTarget } from './http-load.js';
import { compare, measureInTurns, type Measure } from './measure-pairs.js';
import type { SinkReceivers } from './servers/sink-receivers.js';

/** Of recording without sinks; what recording with all of them has to reach. */
const recordingTarget = { atLeast: 0.8 };
/** Compression has to save 70 %. */
const compressionTarget = { atMost: 0.3 };
const pollMs = 20;
const rsyslogd = '/usr/sbin/rsyslogd';

/** Seconds of work, often. */
const burst = { rounds: 8, warmUpRounds: 2, target: recordingTarget } as const;

/** How events come in: so many a request, over so many connections. */
const loads = [
  { what: 'one event a request, 64 connections', eventsOfRequest: 1, connections: 64, requests: 3_000, ...burst },
  { what: '100 events a request, 8 connections', eventsOfRequest: 100, connections: 8, requests: 200, ...burst },
  // Longer than sinks let recording go first: what a node keeps up for good.
  {
    what: '120,000 events in a row, 100 a request, 8 connections',
    eventsOfRequest: 100,
    connections: 8,
    requests: 1_200,
    ...{ rounds: 2, warmUpRounds: 0, target: null },
  },
] as const;

const mutation = `mutation Record($input: RecordEventsInput!) { recordEvents(input: $input) { entries { chainIndex } } }`;

/** Recording on a node that delivers to log files, ECS files, syslog, Elasticsearch and a webhook, and on one without sinks. */
export const sinks: Bench = async (context) => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'daybook-bench-sinks-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const receivers = stack.use(startChild('./servers/sink-receivers.js'));
  const { httpUrl, syslogPort } = await receivers.ask<SinkReceivers>('start');
  const rsyslogPort = existsSync(rsyslogd) ? await startRsyslog(folder, stack) : null;
  const syslogIs = rsyslogPort === null ? 'a TCP receiver' : 'rsyslog';
  const sinksFile = await writeSinksFile(folder, httpUrl, rsyslogPort ?? syslogPort);
  const logs = join(folder, 'logs');
  const [on, off] = [stack.use(await startBenchDatabase()), stack.use(await startBenchDatabase())];
  const delivering = stack.use(
    await startDaybookNode(on, true, {
      sinksFile,
      logFiles: { folder: logs, gzip: false, keyFile: undefined, encrypt: 'line' },
    }),
  );
  const plain = stack.use(await startDaybookNode(off, true, { logFiles: undefined }));
  const client = new pg.Client(ledgerConnection(on.urls.application, 'daybook bench'));
  await client.connect();
  stack.defer(() => client.end());
  const lines = await measureRecording(context, { on: delivering.target, off: plain.target, client, syslogIs });
  return [...lines, ...(await measureBytes(client, logs))];
};

interface Nodes {
  readonly on: LoadTarget;
  readonly off: LoadTarget;
  /** Of the database of the node with sinks. */
  readonly client: pg.Client;
  readonly syslogIs: string;
}

async function measureRecording(
  { progress, signal }: Pick<BenchContext, 'progress' | 'signal'>,
  { on, off, client, syslogIs }: Nodes,
): Promise<Comparison[]> {
  const lines: Comparison[] = [];
  for (const [place, { what, rounds, warmUpRounds, target, ...load }] of loads.entries()) {
    using http = new HttpLoad(load.connections);
    const delivered: number[] = [];
    const recordOn: Measure = async () => {
      const startedMs = performance.now();
      const rate = await record(http, on, load);
      await caughtUp(client, signal);
      delivered.push(perSecond(load.requests * load.eventsOfRequest, startedMs));
      return rate;
    };
    const samples = await measureInTurns({
      progress: (share, doing) => progress((place + share) / loads.length, doing),
      signal,
      doing: what,
      rounds,
      warmUpRounds,
      measure: { on: recordOn, off: () => record(http, off, load) },
    });
    const line = { bench: 'sinks', unit: 'events/s', baselineIs: 'recording without sinks' };
    lines.push(
      compare(samples, 'on', 'off', {
        ...line,
        what: `recording beside all sinks: ${what}`,
        target,
      }),
      compare({ ...samples, delivered: delivered.slice(warmUpRounds) }, 'delivered', 'off', {
        ...line,
        what: `until JSONL, ECS files, ${syslogIs}, Elasticsearch and webhook have acknowledged all: ${what}`,
        target: null,
      }),
    );
  }
  return lines;
}

type Load = Pick<(typeof loads)[number], 'eventsOfRequest' | 'requests'>;

async function record(http: HttpLoad, target: LoadTarget, { eventsOfRequest, requests }: Load): Promise<number> {
  const bodies = Array.from({ length: requests }, () =>
    JSON.stringify({
      query: mutation,
      variables: { input: { events: Array.from({ length: eventsOfRequest }, nextEvent) } },
    }),
  );
  const startedMs = performance.now();
  await http.send(target, requests, (number) => bodies[number] ?? '');
  return perSecond(requests * eventsOfRequest, startedMs);
}

function perSecond(events: number, startedMs: number): number {
  return (events * 1_000) / (performance.now() - startedMs);
}

let made = 0;

/** Orders and fills of a desk, with an alert and a change of limits now and then. */
function nextEvent(): object {
  const number = (made += 1);
  const symbol = ['AAPL', 'MSFT', 'BTC-USD', 'EURUSD', 'GC=F', 'NVDA'][number % 6];
  const order = {
    symbol,
    side: number % 2 === 0 ? 'BUY' : 'SELL',
    quantity: `${1 + (number % 500)}`,
    price: `${100 + ((number * 7) % 900)}.${10 + (number % 90)}`,
    orderId: randomUUID(),
    signalId: `signal-${Math.floor(number / 3)}`,
  };
  if (number % 50 === 0)
    return { alertSent: { alertType: 'RISK', severity: 'WARNING', message: `exposure of ${symbol} above its limit` } };
  if (number % 333 === 0)
    return {
      configChanged: { configType: 'risk-limits', oldValue: `${number}`, newValue: `${number + 10}`, user: 'ann' },
    };
  return number % 3 === 0 ? { filled: { ...order, dealId: `deal-${number}` } } : { orderAccepted: order };
}

/** Returns when every sink has acknowledged what is recorded now. */
async function caughtUp(client: pg.Client, signal: AbortSignal): Promise<void> {
  const found = await client.query<{ head: string }>('SELECT max(chain_index) + 1 AS head FROM public.audit_entries');
  const head = found.rows[0]?.head;
  for (;;) {
    const behind = await client.query('SELECT FROM public.audit_sinks WHERE position < $1', [head]);
    if (behind.rowCount === 0) return;
    await delay(pollMs, undefined, { signal });
  }
}

async function measureBytes(client: pg.Client, logs: string): Promise<Comparison[]> {
  const found = await client.query<{ bytes: string; entries: string }>(
    `SELECT pg_total_relation_size('public.audit_entries') AS bytes, count(*) AS entries FROM public.audit_entries`,
  );
  const entries = Number(found.rows[0]?.entries);
  let [plain, compressed] = [0, 0];
  for (const name of (await readdir(logs)).filter((each) => each.endsWith('.jsonl'))) {
    plain += (await stat(join(logs, name))).size;
    for await (const part of createReadStream(join(logs, name)).pipe(createGzip()) as AsyncIterable<Buffer>)
      compressed += part.length;
  }
  const perEntry = (bytes: number) => [bytes / entries];
  const sizes = {
    database: perEntry(Number(found.rows[0]?.bytes)),
    plain: perEntry(plain),
    compressed: perEntry(compressed),
  };
  const line = { bench: 'sinks', unit: 'B' };
  return [
    compare(sizes, 'plain', 'database', {
      ...line,
      what: 'an entry in a JSONL file',
      baselineIs: 'an entry in the database, indexes included',
      target: null,
    }),
    compare(sizes, 'compressed', 'plain', {
      ...line,
      what: 'an entry in a compressed JSONL file',
      baselineIs: 'an entry in a JSONL file',
      target: compressionTarget,
    }),
  ];
}

async function writeSinksFile(folder: string, httpUrl: string, syslogPort: number): Promise<string> {
  const file = join(folder, 'sinks.json');
  await writeFile(join(folder, 'secret'), randomUUID());
  const syslog = { host: '127.0.0.1', port: syslogPort, tls: false, confirmSeconds: 1 };
  const sinksOf = [
    { name: 'ecs', kind: 'ecs', folder: join(folder, 'ecs'), gzip: false },
    { name: 'siem', kind: 'syslog', ...syslog },
    { name: 'search', kind: 'elasticsearch', url: httpUrl, index: 'audit' },
    { name: 'hook', kind: 'webhook', url: `${httpUrl}/hook`, secretFile: join(folder, 'secret') },
  ];
  await writeFile(file, JSON.stringify({ sinks: sinksOf }));
  return file;
}

/** Starts rsyslog on loopback, which writes what it gets into a file. Returns its port. */
async function startRsyslog(folder: string, stack: AsyncDisposableStack): Promise<number> {
  const port = await findFreePort();
  const work = join(folder, 'rsyslog');
  await mkdir(work);
  await writeFile(
    join(work, 'rsyslog.conf'),
    `global(workDirectory="${work}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp")
input(type="imtcp" port="${port}" address="127.0.0.1")
action(type="omfile" file="${join(work, 'received')}")
`,
  );
  const child = spawn(rsyslogd, ['-n', '-f', join(work, 'rsyslog.conf'), '-i', join(work, 'pid')], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  stack.defer(async () => {
    child.kill('SIGTERM');
    await exited;
  });
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`rsyslogd ended with ${child.exitCode}`);
    await delay(pollMs);
  }
  return port;
}

async function listens(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    // Not yet.
    return false;
  } finally {
    socket.destroy();
  }
}
