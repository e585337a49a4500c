import { randomUUID } from 'node:crypto';
import { appendFile, cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { packFileNames, type PackManifest } from '../../src/core/pack-manifest.js';
import { encodeVerifierKey, parseVerifierKey } from '../../src/core/verifier-key.js';
import { verifyPack, type PackVerdict } from '../../src/core/verify-pack.js';
import { createPack, packFolderName } from '../../src/packs/create-packs.js';
import { readPackFolder } from '../../src/verifier/read-pack.js';
import {
  copyPack,
  createFolder,
  readManifest,
  signAsStranger,
  withFile,
  writeManifest,
} from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';

const record = 'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }';
const today = () => new Date().toISOString().slice(0, 10);
const order = { symbol: 'AAPL', side: 'BUY', quantity: '10.5', orderId: 'o-1', signalId: 's-1' };
const events = [
  { orderAccepted: { ...order, price: '100.1', orderType: 'LIMIT' } },
  { filled: { ...order, price: '100.2', fee: '0.35' } },
  { rejected: { ...order, orderId: 'o-2', message: '=cmd|" /C calc"!A0, "quoted"\nsecond line' } },
  { alertSent: { alertType: 'RISK', severity: 'CRITICAL', message: 'drawdown' } },
  { login: { user: 'ann', succeeded: false } },
];

let service: TestService;
let folder: Awaited<ReturnType<typeof createFolder>>;
/** A pack of today, never touched. */
let original: string;
let keys: ReturnType<typeof parseVerifierKey>[];

async function makePartial(): Promise<string> {
  const { packs } = service.context.services;
  const origin = { ...serviceCaller, requestId: randomUUID() };
  const row = await createPack(packs, {
    date: today(),
    kind: 'PARTIAL',
    origin,
    signal: new AbortController().signal,
  });
  return join(packs.folder, packFolderName(row));
}

const serviceCaller = { actor: 'tester', role: null, ipAddress: null, userAgent: null, sessionId: 'test' };

beforeAll(async () => {
  folder = await createFolder('packs');
  service = await startTestService({ environment: { DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
  const { errors } = await service.call(record, { input: { events } });
  expect(errors).toBeUndefined();
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(300));
  const answer = await service.call('{ verifierKeys }');
  keys = (answer.data?.verifierKeys as string[]).map(parseVerifierKey);
  original = await copyPack(await makePartial(), join(folder.path, 'original'));
}, 60_000);

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function verify(pack: string, pinned = keys): Promise<PackVerdict> {
  return verifyPack(await readPackFolder(pack), pinned);
}

/** Codes of the faults of a copy after `alter`. */
async function codesAfter(alter: (pack: string) => Promise<unknown>): Promise<string[]> {
  const pack = await copyPack(original, join(folder.path, randomUUID()));
  await alter(pack);
  const { faults } = await verify(pack);
  return [...new Set(faults.map(({ code }) => code))];
}

async function resign(pack: string, change: (manifest: PackManifest) => PackManifest): Promise<void> {
  const { manifest } = await readManifest(pack);
  const changed = change(manifest);
  await writeManifest(pack, changed, service.context.services.packs.sources.sign(manifestBytesOf(changed)));
}

function manifestBytesOf(manifest: PackManifest): Uint8Array {
  return Buffer.from(JSON.stringify(sortKeys(manifest)));
}

/** RFC 8785 for values without exotic numbers, written apart from the product's. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, member]) => [key, sortKeys(member)]),
  );
}

describe('an evidence pack', () => {
  test('holds the fixed set of files, and verifies with pinned keys alone', async () => {
    expect((await readdir(original)).sort()).toEqual([...packFileNames, 'manifest.json'].sort());
    const { faults, signer, entriesChecked, manifest } = await verify(original);
    expect(faults).toEqual([]);
    expect(signer).toBe('verified');
    expect(manifest?.logs.signals.count).toBe(300);
    expect(entriesChecked).toBe(300 + (manifest?.logs.audit.count ?? 0));
    expect(manifest?.totals).toMatchObject({
      orders_accepted: 1,
      orders_rejected: 1,
      orders_quantity: '10.5',
      fills: 1,
      fills_quantity: '10.5',
      fills_notional: '1052.1',
      fees: '0.35',
      signals: 300,
    });
    expect((await verify(original, [])).signer).toBe('not-pinned');
  });

  test('has CSV that a reader takes apart again, quotes and line breaks included', async () => {
    const csv = await readFile(join(original, 'orders.csv'), 'utf8');
    expect(csv.split('\r\n')[0]).toMatch(/^index,id,recorded_at,occurred_at,event,order_id,/);
    expect(csv).toContain('"=cmd|"" /C calc""!A0, ""quoted""\nsecond line"');
  });

  test('names a file that was changed, removed, added, renamed or cut short', async () => {
    const at = (name: string) => (pack: string) => join(pack, name);
    expect(
      await codesAfter(async (pack) => {
        const bytes = await readFile(at('fills.csv')(pack));
        bytes[bytes.length - 10] = (bytes[bytes.length - 10] ?? 0) ^ 1;
        await writeFile(at('fills.csv')(pack), bytes);
      }),
    ).toEqual(['FILE_ALTERED']);
    expect(await codesAfter((pack) => rm(join(pack, 'config.diff')))).toEqual(['FILE_MISSING']);
    expect(await codesAfter((pack) => writeFile(join(pack, 'notes.txt'), 'new'))).toEqual(['FILE_EXTRA']);
    expect(await codesAfter((pack) => mkdir(join(pack, 'more')))).toEqual(['FILE_EXTRA']);
    expect(await codesAfter((pack) => rename(join(pack, 'orders.csv'), join(pack, 'order.csv')))).toEqual([
      'FILE_RENAMED',
    ]);
    expect(await codesAfter((pack) => truncate(join(pack, 'audit.jsonl'), 1_000))).toEqual(['FILE_TRUNCATED']);
    expect(await codesAfter((pack) => appendFile(join(pack, 'signals.jsonl'), '{}\n'))).toEqual(['FILE_ALTERED']);
    expect(await codesAfter((pack) => rm(join(pack, 'manifest.json')))).toEqual(['MANIFEST_MISSING']);
  });

  test('signed with another key, or with none, is refused', async () => {
    const stranger = await codesAfter(async (pack) => {
      const { manifest } = await readManifest(pack);
      await writeManifest(pack, manifest, signAsStranger(manifest.logs.audit.origin, manifest));
    });
    expect(stranger).toEqual(['WRONG_KEY']);
    const nobody = await codesAfter(async (pack) => {
      await writeManifest(pack, (await readManifest(pack)).manifest, []);
    });
    expect(nobody).toEqual(['UNSIGNED']);
    const edited = await codesAfter(async (pack) => {
      const { manifest, signatures } = await readManifest(pack);
      await writeManifest(pack, { ...manifest, export_date: '2020-01-01' }, signatures);
    });
    expect(edited).toEqual(['SIGNATURE_BAD']);
  });

  test('with rows removed and every hash put right is refused, even under the right key', async () => {
    const shorten = async (pack: string): Promise<PackManifest> => {
      const lines = (await readFile(join(pack, 'audit.jsonl'), 'utf8')).trimEnd().split('\n');
      lines.splice(2, 1);
      const bytes = Buffer.from(`${lines.join('\n')}\n`);
      await writeFile(join(pack, 'audit.jsonl'), bytes);
      const { manifest } = await readManifest(pack);
      const audit = { ...manifest.logs.audit, count: lines.length, expected: lines.length };
      return { ...withFile(manifest, 'audit.jsonl', bytes, lines.length), logs: { ...manifest.logs, audit } };
    };
    const forged = await codesAfter(async (pack) => {
      const changed = await shorten(pack);
      await writeManifest(pack, changed, (await readManifest(pack)).signatures);
    });
    expect(forged).toEqual(expect.arrayContaining(['ROWS_CHANGED', 'SIGNATURE_BAD']));
    const insider = await codesAfter(async (pack) => {
      const changed = await shorten(pack);
      await resign(pack, () => changed);
    });
    expect(insider).toContain('ROWS_CHANGED');
    expect(insider).not.toContain('SIGNATURE_BAD');
  });

  test('whose readable files do not say what the entries say is refused, even under the right key', async () => {
    const codes = await codesAfter(async (pack) => {
      const text = (await readFile(join(pack, 'fills.csv'), 'utf8')).replace('100.2', '100.3');
      await writeFile(join(pack, 'fills.csv'), text);
      await resign(pack, (manifest) => withFile(manifest, 'fills.csv', Buffer.from(text)));
    });
    expect(codes).toEqual(['DERIVED_MISMATCH']);
    const totals = await codesAfter((pack) =>
      resign(pack, (manifest) => ({ ...manifest, totals: { ...manifest.totals!, fills: 2 } })),
    );
    expect(totals).toEqual(['DERIVED_MISMATCH']);
  });

  test('with the checkpoint of another log in it is refused', async () => {
    const codes = await codesAfter(async (pack) => {
      await cp(join(pack, 'signals.checkpoint'), join(pack, 'audit.checkpoint'));
      const bytes = await readFile(join(pack, 'audit.checkpoint'));
      await resign(pack, (manifest) => withFile(manifest, 'audit.checkpoint', bytes));
    });
    expect(codes).toEqual(['CHECKPOINT_BAD']);
  });

  test('stands on the record with its manifest hash, and is listed', async () => {
    const answer = await service.call(
      `{ exportPacks(first: 5) { nodes { id date kind createdBy manifestSha256 files signals } totalCount }
         auditEntries(filter: { event: { eq: "ExportPackCreated" } }) { nodes { actor resource details } } }`,
    );
    const [pack] = answer.data?.exportPacks.nodes as Record<string, any>[];
    const [entry] = answer.data?.auditEntries.nodes as Record<string, any>[];
    expect(pack).toMatchObject({ date: today(), kind: 'PARTIAL', createdBy: 'tester', files: 14, signals: '300' });
    expect(entry?.details).toMatchObject({ id: pack?.id, manifestSha256: pack?.manifestSha256 });
    expect((await verify(original)).manifestSha256).toBe(pack?.manifestSha256);
    expect(keys.map(encodeVerifierKey)).toContain((await readManifest(original)).signatures[0]?.key);
  });

  test('is downloaded file by file, each download on the record', async () => {
    const [pack] = (await service.call('{ exportPacks(first: 1) { nodes { id } } }')).data?.exportPacks.nodes as {
      id: string;
    }[];
    const get = (file: string, key: string) =>
      fetch(`${service.url}/packs/${pack?.id}/${file}`, { headers: { authorization: `Bearer ${key}` } });
    const auditor = await service.makeKey('AUDITOR');
    const downloaded = join(folder.path, 'downloaded');
    await mkdir(downloaded);
    for (const name of [...packFileNames, 'manifest.json']) {
      const response = await get(name, auditor);
      expect(response.status).toBe(200);
      await writeFile(join(downloaded, name), Buffer.from(await response.arrayBuffer()));
    }
    expect((await verify(downloaded)).faults).toEqual([]);
    expect((await get('..%2f..%2fmaster.key', auditor)).status).toBe(404);
    expect((await get('orders.csv', await service.makeKey('ANALYST'))).status).toBe(403);
    const { data } = await service.call(
      `{ auditEntries(filter: { resource: { eq: "/packs/${pack?.id}/orders.csv" } }) { nodes { outcome details } } }`,
    );
    expect(data?.auditEntries.nodes).toEqual([
      { outcome: 'OK', details: expect.objectContaining({ file: 'orders.csv', packDate: today() }) },
      { outcome: 'FORBIDDEN', details: expect.anything() },
    ]);
  });

  test('of a day that has not ended is refused unless a part is asked for', async () => {
    const mutation = (partial: boolean) =>
      service.call(
        `mutation { createExportPack(input: { date: "${today()}", partial: ${partial} }) { pack { kind } } }`,
      );
    expect((await mutation(false)).errors?.[0]?.extensions.code).toBe('DAY_NOT_OVER');
    expect((await mutation(true)).data?.createExportPack.pack.kind).toBe('PARTIAL');
    const monitor = await service.makeKey('MONITOR');
    const refused = await service.call(
      `mutation { createExportPack(input: { date: "${today()}", partial: true }) { pack { kind } } }`,
      {},
      monitor,
    );
    expect(refused.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
