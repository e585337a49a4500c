import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readFolder } from '../../src/verifier/read-folder.js';
import { verifyLayout } from '../../src/verifier/verify-layout.js';
import { checkIntegrity } from '../support/integrity-check.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const fast = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };

let dataDir: string;
let store: string;
let database: TestDatabase;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'daybook-store-'));
  store = join(dataDir, 'store', 'signals');
  database = await createTestDatabase();
});

afterEach(async () => {
  await database[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

function start(): Promise<TestService> {
  return startTestService({ database, environment: { ...fast, DAYBOOK_DATA_DIR: dataDir } });
}

/** Records signals until there are so many, and waits for the last one to be published. */
async function publish(service: TestService, entries: number): Promise<void> {
  await using session = await openSession(database.urls.application);
  const before = Number(await session.value('SELECT count(*) FROM public.signals'));
  await session.run(insertSignalsSql(entries - before));
  await waitForPublication(service, entries);
}

async function waitForPublication(service: TestService, entries: number): Promise<void> {
  await waitUntil(`${entries} entries are published`, async () => {
    const { text } = await readStoredNote();
    return text.split('\n')[1] === String(entries) && (await isNoted(service, entries));
  });
}

async function readStoredNote(): Promise<{ readonly text: string }> {
  return { text: await readFile(join(store, 'checkpoint'), 'utf8').catch(() => '') };
}

/** The node itself saw it there. */
async function isNoted(service: TestService, entries: number): Promise<boolean> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  return text.includes(`daybook_published_tree_size{log="signals"} ${entries}\n`);
}

async function waitForIncident(service: TestService): Promise<Record<string, any>> {
  return await waitUntil('an incident is open', async () => {
    const { data } = await service.call('{ incidents(open: true) { nodes { kind title occurrences details } } }');
    const nodes = data?.incidents.nodes as Record<string, any>[];
    return nodes.find(({ kind }) => kind === 'ANCHOR');
  });
}

async function expectIntactStore(entries: number): Promise<void> {
  const verification = await verifyLayout({ reader: await readFolder(store), keys: [] });
  expect(verification).toMatchObject({ entries, breakCount: 0 });
}

describe('a store that loses what was published', () => {
  test('while its log is quiet is noticed, told of once, and filled again', async () => {
    await using service = await start();
    await publish(service, 600);
    await rm(store, { recursive: true });
    const incident = await waitForIncident(service);
    expect(incident).toMatchObject({ details: { log: 'signals', expected: '600', found: 'none' } });
    await waitForPublication(service, 600);
    await expectIntactStore(600);
    expect((await waitForIncident(service)).occurrences).toBe('1');
  });

  test('while no node runs is noticed by the one that starts next', async () => {
    {
      await using service = await start();
      await publish(service, 300);
    }
    await rm(store, { recursive: true });
    await using service = await start();
    expect(await waitForIncident(service)).toMatchObject({ details: { expected: '300', found: 'none' } });
    await waitForPublication(service, 300);
    await expectIntactStore(300);
  });

  test('and holds an earlier checkpoint instead is noticed too', async () => {
    await using service = await start();
    await publish(service, 300);
    const earlier = await readStoredNote();
    await publish(service, 400);
    await writeFile(join(store, 'checkpoint'), earlier.text);
    expect(await waitForIncident(service)).toMatchObject({ details: { expected: '400', found: '300' } });
    await waitForPublication(service, 400);
    await expectIntactStore(400);
  });
});

describe('a full check', () => {
  const check = () => checkIntegrity(database, dataDir);
  const codesOf = async () => (await check()).breaks.map(({ code }) => code);

  beforeEach(async () => {
    await using service = await start();
    await publish(service, 700);
  });

  test('finds nothing in a store that is whole', async () => {
    expect(await check()).toMatchObject({ result: 'OK', breaks: [] });
  });

  test.each(['tile/0/001', 'tile/entries/000', 'tile/0/002.p/188', 'tile/1/000.p/2'])(
    'finds %s gone, or changed',
    async (path) => {
      const file = join(store, path);
      const bytes = await readFile(file);
      bytes[0]! ^= 1;
      await writeFile(file, bytes);
      expect(await codesOf()).toEqual(['TILE_MISMATCH']);
      await rename(file, `${dataDir}/away`);
      expect(await codesOf()).toEqual(['TILE_MISSING']);
    },
  );

  test('finds an emptied store, with or without its checkpoint', async () => {
    await rm(join(store, 'tile'), { recursive: true });
    expect(new Set(await codesOf())).toEqual(new Set(['TILE_MISSING']));
    await rm(store, { recursive: true });
    const { result, breaks } = await check();
    expect(result).toBe('FAILED');
    expect(breaks).toMatchObject([{ code: 'ANCHOR_MISSING', area: 'signals' }]);
  });
});
