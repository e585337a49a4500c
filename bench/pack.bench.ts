import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import pg from 'pg';
import { plainEncoding, type PackDecoders, type PackEncoding } from '../src/core/pack-encoding.js';
import { verifyPack } from '../src/core/verify-pack.js';
import { ledgerConnection } from '../src/db/pool.js';
import { integrateTiles } from '../src/ledger/integrate-tiles.js';
import { ageDecoder } from '../src/packs/age.js';
import { gunzip } from '../src/verifier/gunzip.js';
import { readPackFolder } from '../src/verifier/read-pack.js';
import { startBenchDatabase } from './bench-database.js';
import { startChild } from './child.js';
import type { Bench, BenchContext, Comparison } from './comparison.js';
import { compare, measureInTurns, type Samples } from './measure-pairs.js';
import { keyOf, makeManifest, makePack, type PackPlace } from './sample-packs.js';
import type { PackMemoryOptions } from './servers/pack-memory.js';
import { storeEntriesInBulk } from './store-in-bulk.js';

const entriesOfDay = 10_000;
const entriesOfLarge = 1_000_000;
const fetchRows = 500;
const packsBeside = 20;
/** The day's pack of 10,000 entries is to be there in 3 s. */
const dayMsMax = 3_000;
const memoryGrowthMbMax = 64;

/** A manifest of so many files, written, hashed, listed and signed, is to be there in 1 s. */
const filesOfManifest = 100;
const manifestMsMax = 1_000;

/** Building a day's pack: against copying the same bodies into a file, and how time and memory grow with the day. */
export const pack: Bench = async (context) => {
  const { progress, signal } = context;
  const folder = await mkdtemp(join(tmpdir(), 'daybook-bench-packs-'));
  try {
    await using database = await startBenchDatabase();
    progress(0, `storing ${entriesOfLarge} entries`);
    await storeEntriesInBulk(database, entriesOfLarge, signal);
    const client = new pg.Client(ledgerConnection(database.urls.application, 'daybook bench'));
    await client.connect();
    try {
      await integrateTiles(client, 'audit', entriesOfLarge, entriesOfLarge);
      const identity = await generateX25519Identity();
      const sealed: PackEncoding = { compression: 'gzip', recipients: [await identityToRecipient(identity)] };
      const place: Place = { client, folder, url: database.urls.application, sealed };
      await makePack(place, entriesOfDay, plainEncoding, (pack) => assertVerified(pack, {}));
      const decoders = { gzip: gunzip, age: ageDecoder([identity]) };
      await makePack(place, entriesOfDay, sealed, (pack) => assertVerified(pack, decoders));
      return [...compareDay(await measureDay(context, place)), ...(await measureLarge(context, place))];
    } finally {
      await client.end();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

interface Place extends PackPlace {
  /** Compressed and encrypted. */
  readonly sealed: PackEncoding;
}

async function measureDay({ progress, signal }: BenchContext, place: Place): Promise<Samples> {
  const lines = await readDay(place.client);
  return measureInTurns({
    progress,
    signal,
    doing: `packing ${entriesOfDay} entries`,
    rounds: 5,
    warmUpRounds: 2,
    measure: {
      packing: () => timed(() => makePack(place, entriesOfDay, plainEncoding)),
      sealing: () => timed(() => makePack(place, entriesOfDay, place.sealed)),
      copying: () => timed(() => copyBodies(place.client, place.folder, entriesOfDay)),
      limit: () => Promise.resolve(dayMsMax),
      listing: () => timed(() => makeManifest(place.folder, lines, filesOfManifest)),
      manifestLimit: () => Promise.resolve(manifestMsMax),
    },
  });
}

function compareDay(samples: Samples): Comparison[] {
  const line = { bench: 'pack', unit: 'ms', what: `evidence pack of ${entriesOfDay} entries` } as const;
  const sealedLine = { ...line, what: `${line.what}, compressed and encrypted` };
  const manifestLine = {
    ...line,
    what: `manifest of ${filesOfManifest} files with that day's bytes, written and signed`,
  };
  return [
    compare(samples, 'packing', 'limit', { ...line, baselineIs: 'limit', target: { atMost: 1 } }),
    compare(samples, 'sealing', 'limit', { ...sealedLine, baselineIs: 'limit', target: { atMost: 1 } }),
    compare(samples, 'packing', 'copying', {
      ...line,
      baselineIs: 'reading the same bodies into a file',
      target: null,
    }),
    compare(samples, 'listing', 'manifestLimit', { ...manifestLine, baselineIs: 'limit', target: { atMost: 1 } }),
  ];
}

/** Small packs are made right before and after each large one, so that what disturbs the machine disturbs both. */
async function measureLarge(context: BenchContext, place: Place): Promise<Comparison[]> {
  const [large, day]: [number[], number[]] = [[], []];
  const makeDays = async () => {
    for (let pack = 0; pack < packsBeside; pack += 1) await makePack(place, entriesOfDay, plainEncoding);
  };
  for (let round = 0; round < 3; round += 1) {
    context.signal.throwIfAborted();
    context.progress(0, `packing ${entriesOfLarge} entries`);
    const before = await timed(makeDays);
    large.push(((await timed(() => makePack(place, entriesOfLarge, plainEncoding))) * 1_000) / entriesOfLarge);
    const after = await timed(makeDays);
    day.push(((before + after) * 1_000) / (2 * packsBeside * entriesOfDay));
  }
  const samples: Samples = {
    large,
    day,
    plain: [await measureGrowth(context, place.url, plainEncoding)],
    sealed: [await measureGrowth(context, place.url, place.sealed)],
    limit: [memoryGrowthMbMax],
  };
  const memory = { bench: 'pack', baselineIs: 'limit', unit: 'MB', target: { atMost: 1 } } as const;
  const what = `peak memory of a pack of ${entriesOfLarge} over that of ${entriesOfDay} entries`;
  return [
    compare(samples, 'large', 'day', {
      bench: 'pack',
      what: `an entry of a pack of ${entriesOfLarge}`,
      baselineIs: `an entry of a pack of ${entriesOfDay}`,
      unit: 'µs',
      target: { atMost: 1.5 },
    }),
    compare(samples, 'plain', 'limit', { ...memory, what }),
    compare(samples, 'sealed', 'limit', { ...memory, what: `${what}, compressed and encrypted` }),
  ];
}

/** MiB that the pack of the large day takes more than that of the small one, each made by a process of its own. */
async function measureGrowth({ progress, signal }: BenchContext, url: string, encoding: PackEncoding): Promise<number> {
  const peakOf = async (entries: number): Promise<number> => {
    signal.throwIfAborted();
    progress(0, `packing ${entries} entries in a process of its own`);
    await using child = startChild('./servers/pack-memory.js');
    return await child.ask<number>('peakOf', { url, entries, encoding } satisfies PackMemoryOptions);
  };
  const day = await peakOf(entriesOfDay);
  return (await peakOf(entriesOfLarge)) - day;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function assertVerified(place: string, decoders: PackDecoders): Promise<void> {
  const keys = [keyOf('audit'), keyOf('signals')];
  const { faults, sealed } = await verifyPack(await readPackFolder(place), keys, decoders);
  if (faults.length > 0) throw new Error(`the bench's own pack is broken: ${JSON.stringify(faults[0])}`);
  if (sealed.length > 0) throw new Error(`${sealed.join(', ')} of the bench's own pack could not be opened`);
}

async function readDay(client: pg.Client): Promise<string[]> {
  const lines: string[] = [];
  for await (const page of readBodies(client, entriesOfDay)) lines.push(...page.trimEnd().split('\n'));
  return lines.map((line) => `${line}\n`);
}

async function copyBodies(client: pg.Client, folder: string, entries: number): Promise<void> {
  const place = join(folder, randomUUID());
  await pipeline(readBodies(client, entries), createWriteStream(place));
  const { size } = await stat(place);
  if (size === 0) throw new Error('nothing was copied');
  await rm(place);
}

async function* readBodies(client: pg.Client, entries: number): AsyncIterable<string> {
  for (let from = 0; from < entries; from += fetchRows) {
    const found = await client.query<{ body: string }>(
      'SELECT body FROM public.audit_entries WHERE chain_index >= $1 AND chain_index < $2 ORDER BY chain_index',
      [from, Math.min(from + fetchRows, entries)],
    );
    yield found.rows.map(({ body }) => `${body}\n`).join('');
  }
}
