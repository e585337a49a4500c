import { benchKey, startBenchDatabase, type BenchDatabase } from './bench-database.js';
import { startChild, type Child } from './child.js';
import type { Bench } from './comparison.js';
import { startDaybookNode } from './daybook-node.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { connectAsWriter } from './plain-rows.js';
import { numbered, sampleEntry } from './sample-rows.js';
import type { SubscribersOptions } from './servers/subscribers.js';
import { openWriter } from './store-rows.js';

const subscribers = 1_000;
const entriesPerRound = 300;
/** Entries of one append: small, so that none of the subscribers waits for a large transaction. */
const appendRows = 20;
const rounds = 6;
const warmUpRounds = 2;

/** The same ten members as the broadcast's entries; the cursor comes first, where a client finds it without parsing. */
const subscription = `subscription { auditFeed { cursor entries {
  chainIndex id category event actor resource outcome recordedAt requestId chainHash
} } }`;
const greetings = [
  JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${benchKey}` } }),
  JSON.stringify({ id: '1', type: 'subscribe', payload: { query: subscription } }),
];

/** New entries to 1,000 subscribers of one feed, each resumable and checked for gaps, against a raw broadcast. */
export const fanOut: Bench = async ({ progress, signal }) => {
  await using database = await startBenchDatabase();
  await using node = await startDaybookNode(database);
  await using writer = openWriter(database);
  await using ours = startChild('./servers/subscribers.js');
  await using theirs = startChild('./servers/subscribers.js');
  await using broadcaster = startChild('./servers/broadcast.js');
  progress(0, `${subscribers} subscribers connect`);
  await connect(theirs, { url: await broadcaster.ask<string>('start'), protocol: null, greetings: [] });
  await connect(ours, {
    url: node.target.url.replace('http:', 'ws:'),
    protocol: 'graphql-transport-ws',
    greetings,
  });
  // Each opening left an entry, which those who came earlier are sent.
  await ours.ask('reach', await readSize(database));

  const makeEntries = numbered(sampleEntry);
  const samples = await measureInTurns({
    progress,
    signal,
    doing: `${entriesPerRound} entries to ${subscribers} subscribers`,
    rounds,
    warmUpRounds,
    measure: {
      broadcast: () => deliveriesPerSecond(theirs, () => broadcaster.ask<number>('broadcast', entriesPerRound)),
      feed: async () => {
        const size = await readSize(database);
        return deliveriesPerSecond(ours, async () => {
          for (let appended = 0; appended < entriesPerRound; appended += appendRows) {
            await writer.append({ callEntries: makeEntries(appendRows) });
          }
          return size + entriesPerRound;
        });
      },
    },
  });
  return [
    compare(samples, 'feed', 'broadcast', {
      bench: 'fan-out',
      what: `auditFeed to ${subscribers} graphql-ws subscribers, from the append on`,
      baselineIs: 'raw ws broadcast, one JSON message per entry',
      unit: 'entries/s',
      target: { atLeast: 1 },
    }),
  ];
};

function connect(child: Child, options: Omit<SubscribersOptions, 'count'>): Promise<void> {
  return child.ask('connect', { ...options, count: subscribers } satisfies SubscribersOptions);
}

/** Entries that reach all subscribers, times their number, by the second; `produce` returns the position behind them. */
async function deliveriesPerSecond(child: Child, produce: () => Promise<number>): Promise<number> {
  const startedMs = performance.now();
  await child.ask('reach', await produce());
  return (entriesPerRound * subscribers * 1000) / (performance.now() - startedMs);
}

/** Size of the audit log. */
async function readSize({ urls }: BenchDatabase): Promise<number> {
  await using client = await connectAsWriter(urls.application);
  const found = await client.query<{ size: string }>(
    'SELECT coalesce(max(chain_index) + 1, 0) AS size FROM public.audit_entries',
  );
  return Number(found.rows[0]?.size ?? 0);
}
