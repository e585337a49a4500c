import { startBenchDatabase } from './bench-database.js';
import { startChild, type Child } from './child.js';
import type { Bench } from './comparison.js';
import { poolSize, startDaybookNode } from './daybook-node.js';
import { HttpLoad, type LoadTarget } from './http-load.js';
import { compare, measureInTurns, type Measure } from './measure-pairs.js';
import { storeRows } from './store-rows.js';
import type { PostgraphileOptions } from './servers/postgraphile.js';

const signalsStored = 5_000;
const requestsPerRound = 500;
const rounds = 16;
/** Both servers go on becoming faster for some thousand requests. */
const warmUpRounds = 5;
const connections = 8;

/** The same ten columns for both. */
const columns = [
  'symbol',
  'action',
  'entryPrice',
  'targetPrice',
  'stopLoss',
  'confidence',
  'strategy',
  'generatedAt',
  'chainIndex',
].join(' ');
const ourQuery = `{ signals(first: 100) { nodes { id ${columns} } } }`;
const theirQuery = `{ allSignals(first: 100) { nodes { signalId ${columns} } } }`;

/** Processor time that the serving process, not its database, spends on a list of 100 rows with 10 fields. */
export const list: Bench = async ({ progress, signal }) => {
  await using database = await startBenchDatabase();
  await storeRows(database, signalsStored, 0);
  using load = new HttpLoad(connections);
  await using postgraphile = startChild('./servers/postgraphile.js');
  const theirs: LoadTarget = {
    url: await postgraphile.ask<string>('start', {
      databaseUrl: database.urls.application,
      poolSize,
    } satisfies PostgraphileOptions),
    headers: {},
  };
  await using silent = await startDaybookNode(database, false);
  await using recording = await startDaybookNode(database, true);

  await expectRows(load, theirs, theirQuery);
  await expectRows(load, silent.target, ourQuery);
  await expectRows(load, recording.target, ourQuery);
  const samples = await measureInTurns({
    progress,
    signal,
    doing: 'lists of 100 rows',
    rounds,
    warmUpRounds,
    measure: {
      theirs: processorTimePerRequest(postgraphile, load, theirs, theirQuery),
      silent: processorTimePerRequest(silent.child, load, silent.target, ourQuery),
      recording: processorTimePerRequest(recording.child, load, recording.target, ourQuery),
    },
  });
  const line = { bench: 'list', baselineIs: 'PostGraphile 5, the same rows and columns', unit: 'ms CPU' };
  return [
    compare(samples, 'silent', 'theirs', {
      ...line,
      what: "100 rows of 10 fields, the call's entry left out",
      target: { atMost: 1 },
    }),
    compare(samples, 'recording', 'theirs', {
      ...line,
      what: "100 rows of 10 fields, the call's entry durable",
      target: null,
    }),
  ];
};

/** Milliseconds of processor time per request. */
function processorTimePerRequest(child: Child, load: HttpLoad, target: LoadTarget, query: string): Measure {
  const body = JSON.stringify({ query });
  return async () => {
    const beforeUs = await child.ask<number>('processorTimeUs');
    await load.send(target, requestsPerRound, () => body);
    return ((await child.ask<number>('processorTimeUs')) - beforeUs) / requestsPerRound / 1000;
  };
}

async function expectRows(load: HttpLoad, target: LoadTarget, query: string): Promise<void> {
  const text = await load.post(target, JSON.stringify({ query }));
  const { data } = JSON.parse(text) as { data?: Record<string, { nodes: object[] }> };
  const nodes = Object.values(data ?? {})[0]?.nodes ?? [];
  if (nodes.length !== 100 || Object.keys(nodes[0] ?? {}).length !== 10) throw new Error(`${target.url}: ${text}`);
}
