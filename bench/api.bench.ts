import { startBenchDatabase } from './bench-database.js';
import { startChild } from './child.js';
import type { Bench } from './comparison.js';
import { poolSize, startDaybookNode } from './daybook-node.js';
import { HttpLoad, type LoadTarget } from './http-load.js';
import { compare, measureInTurns, type Measure } from './measure-pairs.js';
import { createPlainTables } from './plain-tables.js';
import { numbered, sampleSignal } from './sample-rows.js';
import type { PlainApiOptions } from './servers/plain-api.js';

const connections = 64;
const requestsPerRound = 1_500;
const rounds = 8;
const warmUpRounds = 3;

const mutation = `mutation Record($input: CreateSignalInput!) {
  createSignal(input: $input) { signal { id chainIndex serverTimestamp } }
}`;
const makeSignals = numbered(sampleSignal);

/** Signals recorded one a request over HTTP; each answer means that the row is on disk. */
export const api: Bench = async ({ progress, signal }) => {
  await using database = await startBenchDatabase();
  await createPlainTables(database.urls, ['signals']);
  using load = new HttpLoad(connections);
  await using plainApi = startChild('./servers/plain-api.js');
  const plain: LoadTarget = {
    url: await plainApi.ask<string>('start', {
      databaseUrl: database.urls.application,
      poolSize,
    } satisfies PlainApiOptions),
    headers: {},
  };
  await using node = await startDaybookNode(database);
  for (const target of [plain, node.target]) await expectSignal(load, target);
  const samples = await measureInTurns({
    progress,
    signal,
    doing: `${connections} connections`,
    rounds,
    warmUpRounds,
    measure: { plain: requestsPerSecond(load, plain), ours: requestsPerSecond(load, node.target) },
  });
  return [
    compare(samples, 'ours', 'plain', {
      bench: 'api',
      what: `createSignal, ${connections} connections: the signal and two audit entries`,
      baselineIs: 'node:http and one plain INSERT',
      unit: 'requests/s',
      target: null,
    }),
  ];
};

function requestsPerSecond(load: HttpLoad, target: LoadTarget): Measure {
  return async () => {
    const bodies = Array.from({ length: requestsPerRound }, requestBody);
    const startedMs = performance.now();
    await load.send(target, requestsPerRound, (number) => bodies[number] ?? '');
    return (requestsPerRound * 1000) / (performance.now() - startedMs);
  };
}

/** What a producer sends: the rest of a signal is the server's to know. */
function requestBody(): string {
  const input = makeSignals(1).map(
    ({ signalId, symbol, action, entryPrice, targetPrice, stopLoss, confidence, strategy, rationale }) => ({
      ...{ signalId, symbol, action, entryPrice, targetPrice, stopLoss, confidence, strategy, rationale },
    }),
  )[0];
  return JSON.stringify({ query: mutation, variables: { input } });
}

async function expectSignal(load: HttpLoad, target: LoadTarget): Promise<void> {
  const text = await load.post(target, requestBody());
  const { data } = JSON.parse(text) as { data?: { createSignal?: { signal?: object | null } } };
  if (!data?.createSignal?.signal) throw new Error(`${target.url}: ${text}`);
}
