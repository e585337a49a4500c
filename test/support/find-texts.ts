import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { randomUUID } from 'node:crypto';
import { withConnection } from '../../src/db/admin-connection.js';

/** Every row of every table as text, those of the job queue included, and what hex in it encodes. */
export async function dumpDatabase(url: string): Promise<string> {
  const dump: string[] = [];
  await withConnection(url, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
         AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1`,
    );
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
      dump.push(`-- ${name}: ${rows.length} rows`);
      for (const { row } of rows) dump.push(row, row.replaceAll('\\', ''), ...decodedHex(row));
    }
  });
  return dump.join('\n');
}

function decodedHex(row: string): string[] {
  return [...row.matchAll(/\\x((?:[0-9a-f]{2}){16,})/g)].map(([, hex]) =>
    Buffer.from(hex ?? '', 'hex').toString('latin1'),
  );
}

/** Those of the texts, of one line each, that occur in any file below a folder. */
export async function findTexts(texts: readonly string[], folder: string): Promise<string[]> {
  const patterns = join(tmpdir(), `patterns-${randomUUID()}`);
  await writeFile(patterns, `${texts.join('\n')}\n`);
  try {
    const { stdout } = await promisify(execFile)('grep', ['-rhaoF', '-f', patterns, folder], {
      maxBuffer: 256 * 1024 * 1024,
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
    });
    return [...new Set(stdout.trim().split('\n'))];
  } catch (error) {
    // 1 says that nothing was found, anything above that grep itself failed.
    if ((error as { code?: unknown }).code === 1) return [];
    throw error;
  } finally {
    await rm(patterns, { force: true });
  }
}
