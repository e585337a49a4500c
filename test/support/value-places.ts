import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parquetReadObjects } from 'hyparquet';
import { callGraphql } from './test-service.js';
import { dumpDatabase } from './find-texts.js';
import { waitUntil } from './wait-until.js';

/** A service, and what it has to be asked with. */
export interface AskedService {
  readonly url: string;
  readonly key: string;
  readonly superuserUrl: string;
}

const answersOfRest = {
  metrics: '/metrics',
  health: '/health/detailed',
  stats: '/audit/stats',
  'logs-json': '/audit/logs?limit=1000',
  'logs-csv': '/audit/logs?limit=1000&format=csv',
  'export-csv': '/audit/export?format=csv',
  'export-spreadsheet': '/audit/export?format=csv&spreadsheet=true',
  'export-json': '/audit/export?format=json',
  'export-jsonl': '/audit/export?format=jsonl',
} as const;

/**
 * Writes what can be read of the service now into a folder, a file for each place: every table, what REST answers, exports in
 * each format, each file of a pack that is made for it, and the lists of GraphQL. Returns the names of the files.
 */
export async function writePlaces(folder: string, service: AskedService): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const places: Record<string, string | Buffer> = { database: await dumpDatabase(service.superuserUrl) };
  for (const [name, path] of Object.entries(answersOfRest)) places[name] = await download(service, path);
  const parquet = new Uint8Array(await download(service, '/audit/export?format=parquet')).buffer;
  // Its pages are compressed: what another program reads of them is looked through.
  const entries = await parquetReadObjects({ file: parquet });
  places['export-parquet'] = entries.map((entry) => toText(entry)).join('\n');
  for (const [name, bytes] of Object.entries(await downloadPack(service))) places[`pack-${name}`] = bytes;
  places['sinks'] = JSON.stringify(await ask(service, '{ sinks { name target lastError } redactionRules { hash } }'));
  for (const [name, content] of Object.entries(places)) await writeFile(join(folder, name), content);
  return Object.keys(places);
}

/** Waits until every sink has delivered what is recorded when it is asked. */
export async function waitForSinks(service: AskedService): Promise<void> {
  const { sinks: first } = await ask(service, '{ sinks { head } }');
  const head = BigInt(first[0].head);
  await waitUntil('every sink delivered what is recorded', async () => {
    const { sinks } = await ask(service, '{ sinks { position } }');
    return sinks.every(({ position }: { position: string }) => BigInt(position) >= head);
  });
}

async function downloadPack(service: AskedService): Promise<Record<string, Buffer>> {
  const date = new Date().toISOString().slice(0, 10);
  const made = await ask(
    service,
    `mutation { createExportPack(input: { date: "${date}", partial: true }) { pack { id } } }`,
  );
  const { id } = made.createExportPack.pack;
  const manifest = await download(service, `/packs/${id}/manifest.json`);
  const { files } = JSON.parse(manifest.toString()) as { files: Record<string, unknown> };
  const found: Record<string, Buffer> = { 'manifest.json': manifest };
  for (const name of Object.keys(files))
    found[name.replaceAll('/', '_')] = await download(service, `/packs/${id}/${name}`);
  return found;
}

async function ask(service: AskedService, query: string): Promise<any> {
  const { data, errors } = await callGraphql(service.url, query, undefined, service.key);
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
  return data;
}

async function download({ url, key }: AskedService, path: string): Promise<Buffer> {
  const response = await fetch(url + path, { headers: { authorization: `Bearer ${key}` } });
  if (response.status !== 200) throw new Error(`${path} is answered with ${response.status}`);
  const headers = JSON.stringify([...response.headers]);
  const body = Buffer.from(await response.arrayBuffer());
  return path.startsWith('/audit/export') && path.includes('parquet') ? body : withHeaders(body, headers, path);
}

/** What an answer's headers say is looked through like the rest; files that are parsed here come without. */
function withHeaders(body: Buffer, headers: string, path: string): Buffer {
  return path.startsWith('/packs/') ? body : Buffer.concat([body, Buffer.from(`\n${headers}\n`)]);
}

function toText(entry: unknown): string {
  return JSON.stringify(entry, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
}

/** The password that the embedded server keeps in the data folder. */
export async function superuserUrlOf(dataDir: string, port: number): Promise<string> {
  const password = (await readFile(join(dataDir, 'postgres/superuser-password'), 'utf8')).trim();
  return `postgres://postgres:${password}@127.0.0.1:${port}/daybook`;
}
