import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { pino } from 'pino';
import { Redactor } from '../../src/access/redact.js';
import type { ConfigSources } from '../../src/config-snapshots/collect-config.js';
import { diffSnapshots } from '../../src/config-snapshots/diff-snapshots.js';
import { getSnapshot, readFileLists } from '../../src/config-snapshots/read-snapshots.js';
import { hashFiles } from '../../src/config-snapshots/snapshot-file.js';
import { recordConfigSnapshot, takeConfigSnapshot } from '../../src/config-snapshots/take-config-snapshot.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const redactor = new Redactor(randomBytes(32));
let database: TestDatabase;
let pool: pg.Pool;
let writer: LedgerWriter;
let auditor: SqlSession;
let folder: string;
let root: string;
let nodes = 0;
let node: string;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = openPool(ledgerConnection(database.urls.application, 'test'), () => undefined);
  writer = new LedgerWriter({ url: database.urls.application, queueRowsMax: 5_000, log: pino({ level: 'silent' }) });
  auditor = await openSession(database.urls.auditor);
});

afterAll(async () => {
  await writer[Symbol.asyncDispose]();
  await pool.end();
  await auditor[Symbol.asyncDispose]();
  await expectLedgerIntact(database.urls.auditor);
  await database[Symbol.asyncDispose]();
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daybook-config-'));
  root = join(folder, 'root');
  await mkdir(join(root, 'config', 'deep'), { recursive: true });
  await mkdir(join(root, 'var'));
  await writeFile(join(root, 'config/app.yaml'), 'max_position: 100\nbroker:\n  apiKey: first-secret\n');
  await writeFile(join(root, 'config/deep/limits.json'), '{"stop":1.5}\n');
  await writeFile(join(root, '.env'), 'MODE=paper\nDB_PASSWORD=second-secret\n');
  node = `host:${(nodes += 1)}`;
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function partsOf(changes: Partial<ConfigSources> = {}) {
  return {
    database: pool,
    append: (request: Parameters<typeof writer.append>[0]) => writer.append(request),
    redactor,
    node,
    occasion: 'DEMAND' as const,
    origin: { ...serviceOrigin('test', 'test'), actor: 'tester' },
    diff: { contextLines: 3, git: undefined },
    sources: {
      root,
      patterns: 'config/**/*.{yaml,json}, .env',
      dataDir: join(root, 'var'),
      fileBytesMax: 10_000,
      totalBytesMax: 100_000,
      environment: {
        DAYBOOK_PORT: '4000',
        DAYBOOK_ADMIN_KEY: 'third-secret',
        DATABASE_URL: 'postgres://u:pw-secret@db/x',
      },
      program: { version: '1.0.0', git_commit: 'a'.repeat(40) },
      schemaText: 'type Query { viewer: String }\n',
      lockFile: null,
      ...changes,
    },
  };
}

function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

async function changesOf(snapshot: string): Promise<Record<string, any>[]> {
  const rows = await auditor.run(
    `SELECT resource, details, xid::text AS xid FROM public.audit_entries
     WHERE event = 'ConfigChanged' AND details ->> 'snapshot' = $1 ORDER BY resource`,
    [snapshot],
  );
  return rows.map((row) => ({ resource: row.resource, ...(row.details as object), xid: row.xid }));
}

async function countRows(table: string): Promise<number> {
  return Number(await auditor.value(`SELECT count(*) FROM public.${table}`));
}

describe('a snapshot', () => {
  test('has the shape that users know, with hash and size of each file', async () => {
    const snapshot = await takeConfigSnapshot(partsOf(), 'the first one');
    const text = '{"stop":1.5}\n';
    expect(snapshot).toMatchObject({ reason: 'the first one', node, diffs: {}, diffs_made_by: null });
    expect(snapshot.snapshot_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(snapshot.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(snapshot.files['config/deep/limits.json']).toMatchObject({
      hash: sha256(text),
      size: text.length,
      state: 'TEXT',
    });
    expect(snapshot.files['@daybook/schema.graphql']!.hash).toBe(sha256('type Query { viewer: String }\n'));
    expect(Object.keys(snapshot.files)).toEqual([
      '.env',
      '@daybook/environment',
      '@daybook/package-lock.json',
      '@daybook/postgresql',
      '@daybook/program',
      '@daybook/schema.graphql',
      'config/app.yaml',
      'config/deep/limits.json',
    ]);
  });

  test('has a keyed mark for a file with secrets, so that no hash tells whoever guesses one that he is right', async () => {
    const markOf = async (pin: string) => {
      await writeFile(join(root, '.env'), `MODE=paper\nPIN=${pin}\n`);
      const { files } = await takeConfigSnapshot(partsOf(), 'a short secret');
      return String(files['.env']!.hash);
    };
    const first = await markOf('1234');
    expect(first).toMatch(/^\[redacted [0-9a-f]{32}\]$/);
    expect(await markOf('4321')).not.toBe(first);
    expect(await markOf('1234')).toBe(first);
    const stored = await auditor.run(
      `SELECT hash, mark, encode(content_hash, 'hex') AS "contentHash" FROM public.config_snapshot_files WHERE path = '.env'`,
    );
    expect(stored.every(({ hash, mark }) => (hash === null) === (mark !== null))).toBe(true);
    const plain = ['1234', '4321'].map((pin) => sha256(`MODE=paper\nPIN=${pin}\n`));
    const details = await auditor.run(`SELECT details FROM public.audit_entries WHERE event LIKE 'Config%'`);
    expect(plain.filter((hash) => JSON.stringify([stored, details]).includes(hash))).toEqual([]);
  });

  test('has no secret in any table, and the mark of each', async () => {
    await takeConfigSnapshot(partsOf(), 'password=reason-secret');
    const dump = JSON.stringify(
      await auditor.run(`SELECT to_json(stored)::text AS text FROM public.config_contents AS stored
        UNION ALL SELECT to_json(stored)::text FROM public.config_snapshot_files AS stored
        UNION ALL SELECT to_json(stored)::text FROM public.config_snapshots AS stored
        UNION ALL SELECT body FROM public.audit_entries`),
    );
    for (const name of ['first', 'second', 'third', 'pw', 'reason']) expect(dump).not.toContain(`${name}-secret`);
    for (const name of ['first', 'second', 'third']) expect(dump).toContain(redactor.mark(`${name}-secret`));
    expect(dump).toContain('MODE=paper');
  });

  test('that differs in nothing leaves one row and one entry, and stores no content again', async () => {
    const parts = partsOf();
    const first = await recordConfigSnapshot(parts, 'first');
    const before = [await countRows('config_contents'), await countRows('config_snapshot_files')];
    const second = await recordConfigSnapshot(parts, 'second');
    expect(second).toMatchObject({ changes: 0, filesHash: first.filesHash, previousId: first.id });
    expect([await countRows('config_contents'), await countRows('config_snapshot_files')]).toEqual(before);
    expect(await changesOf(second.id)).toEqual([]);
    expect(
      await auditor.value(
        "SELECT count(*) FROM public.audit_entries WHERE event = 'ConfigSnapshotTaken' AND resource = $1",
        [`config-snapshot/${second.id}`],
      ),
    ).toBe('1');
  });

  test('names its list of files by a hash that can be derived from the list', async () => {
    const row = await recordConfigSnapshot(partsOf(), 'derive');
    const files = (await readFileLists(pool, [row.filesHash])).get(row.filesHash)!;
    expect(hashFiles(files)).toBe(row.filesHash);
    expect(files.map(({ path }) => path)).toContain('config/app.yaml');
  });

  test('leaves one ConfigChanged for each changed file and setting, in its own transaction', async () => {
    const parts = partsOf();
    const first = await takeConfigSnapshot(parts, 'before');
    await writeFile(join(root, 'config/app.yaml'), 'max_position: 200\nbroker:\n  apiKey: other-secret\n');
    await rm(join(root, '.env'));
    await writeFile(join(root, 'config/new.yaml'), 'x: 1\n');
    const changed = partsOf({
      environment: { ...parts.sources.environment, DAYBOOK_PORT: '5000', DAYBOOK_ADMIN_KEY: 'fourth-secret' },
    });
    const second = await takeConfigSnapshot(changed, 'after');
    const entries = await changesOf(second.snapshot_id);
    expect(entries.map(({ resource }) => resource as string)).toEqual([
      '.env',
      '@daybook/environment DAYBOOK_ADMIN_KEY',
      '@daybook/environment DAYBOOK_PORT',
      'config/app.yaml',
      'config/new.yaml',
    ]);
    expect(second.changes).toBe(5);
    expect(entries[0]).toMatchObject({ oldHash: first.files['.env']!.hash, oldState: 'TEXT', newState: 'MISSING' });
    expect(entries[1]).toMatchObject({
      oldValue: redactor.mark('third-secret'),
      newValue: redactor.mark('fourth-secret'),
    });
    expect(entries[2]).toMatchObject({
      oldValue: '4000',
      newValue: '5000',
      oldHash: sha256('4000'),
      newHash: sha256('5000'),
    });
    expect(entries[3]).toMatchObject({
      oldHash: first.files['config/app.yaml']!.hash,
      newHash: second.files['config/app.yaml']!.hash,
    });
    expect(entries[4]).toMatchObject({ oldState: 'ABSENT', newHash: sha256('x: 1\n') });
    const xids = await auditor.run(`SELECT DISTINCT xid::text AS xid FROM public.audit_entries
      WHERE resource = 'config-snapshot/${second.snapshot_id}' OR details ->> 'snapshot' = '${second.snapshot_id}'`);
    expect(xids).toHaveLength(1);
    expect(second.diffs['config/app.yaml']).toContain('-max_position: 100\n+max_position: 200\n broker:\n');
    expect(second.diffs['config/app.yaml']).toContain(`-  apiKey: ${redactor.mark('first-secret')}\n`);
    expect(Object.keys(second.diffs).sort()).toEqual(
      ['.env', '@daybook/environment', 'config/app.yaml', 'config/new.yaml'].sort(),
    );
    // The file that is gone was shown as missing once; that it is not listed any more is no change.
    expect(await recordConfigSnapshot(changed, 'later')).toMatchObject({ changes: 0 });
  });

  test('of a node that has none is compared with the newest of another', async () => {
    await recordConfigSnapshot(partsOf(), 'on one');
    node = `host:${(nodes += 1)}`;
    const moved = partsOf({ environment: { DAYBOOK_PORT: '1' } });
    expect(await recordConfigSnapshot(moved, 'on the other')).toMatchObject({ changes: 3 });
  });

  test('is taken one after another where several processes of a node take them at once', async () => {
    const parts = partsOf();
    await recordConfigSnapshot(parts, 'before');
    await writeFile(join(root, 'config/app.yaml'), 'max_position: 300\n');
    const rows = await Promise.all(Array.from({ length: 5 }, () => recordConfigSnapshot(parts, 'at once')));
    expect(rows.map(({ changes }) => changes).sort()).toEqual([0, 0, 0, 0, 1]);
    expect(new Set(rows.map(({ previousId }) => previousId)).size).toBe(5);
  });

  test.each(['', '   ', 'x'.repeat(1_001)])('is not taken for an unusable reason', async (reason) => {
    await expect(takeConfigSnapshot(partsOf(), reason)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });
});

describe('what is not a readable text is in the snapshot as such', () => {
  test('files that are missing, secret, binary, too large, no files, or that may not be read', async () => {
    await writeFile(join(root, 'config/tls.key'), 'low-entropy');
    await writeFile(join(root, 'config/logo.yaml'), Buffer.from([1, 0, 2, 255]));
    await writeFile(join(root, 'config/large.yaml'), 'x: 1\n'.repeat(4_000));
    await writeFile(join(root, 'config/line.yaml'), `x: ${'y'.repeat(20_000)}`);
    await writeFile(join(root, 'var/master.key'), 'master');
    execFileSync('mkfifo', [join(root, 'config/pipe.yaml')]);
    await writeFile(join(root, 'config/locked.yaml'), 'x: 1');
    await chmod(join(root, 'config/locked.yaml'), 0);
    const patterns = 'config/**/*.yaml\nconfig/tls.key\nconfig/absent.ini\nvar/master.key\nconfig\n../outside\nvar/**';
    const { files } = await takeConfigSnapshot(
      partsOf({ patterns, fileBytesMax: 30_000, totalBytesMax: 15_000 }),
      'odd',
    );
    const large = 'x: 1\n'.repeat(4_000);
    expect(files['config/tls.key']).toMatchObject({
      state: 'SECRET',
      size: null,
      hash: redactor.mark(sha256('low-entropy')),
    });
    expect(files['config/logo.yaml']).toMatchObject({
      state: 'BINARY',
      size: 4,
      hash: sha256(Buffer.from([1, 0, 2, 255])),
    });
    expect(files['config/large.yaml']).toMatchObject({ state: 'LARGE', size: large.length, hash: sha256(large) });
    expect(files['config/line.yaml']).toMatchObject({ state: 'LARGE', size: 20_003 });
    expect(files['config/absent.ini']).toMatchObject({ state: 'MISSING', hash: null, size: null });
    expect(files['config/pipe.yaml']).toMatchObject({ state: 'REFUSED' });
    expect(files['config']).toMatchObject({ state: 'REFUSED' });
    expect(files['var/master.key']).toMatchObject({ state: 'REFUSED', hash: null });
    expect(files['../outside']).toMatchObject({ state: 'REFUSED' });
    // Root reads whatever it likes.
    const locked = process.getuid?.() === 0 ? 'TEXT' : 'UNREADABLE';
    expect(files['config/locked.yaml']).toMatchObject({ state: locked });
    expect(Object.values(files).every(({ hash }) => hash !== sha256('master'))).toBe(true);
  });

  test('links are followed inside the root and never out of it', async () => {
    await writeFile(join(folder, 'outside.yaml'), 'outside: 1\n');
    await symlink(join(folder, 'outside.yaml'), join(root, 'config/out.yaml'));
    await symlink(folder, join(root, 'config/all'));
    await symlink('app.yaml', join(root, 'config/in.yaml'));
    await symlink('nowhere', join(root, 'config/dangling.yaml'));
    await symlink('.', join(root, 'config/loop'));
    const patterns = 'config/**/*.yaml, config/all/*.yaml, config/all/outside.yaml';
    const { files } = await takeConfigSnapshot(partsOf({ patterns }), 'links');
    expect(files['config/out.yaml']).toMatchObject({ state: 'REFUSED', hash: null });
    expect(files['config/all/outside.yaml']).toMatchObject({ state: 'REFUSED', hash: null });
    expect(files['config/all/']).toMatchObject({ state: 'REFUSED' });
    expect(files['config/in.yaml']).toMatchObject({ state: 'TEXT', hash: files['config/app.yaml']!.hash });
    expect(files['config/dangling.yaml']).toMatchObject({ state: 'MISSING' });
    expect(JSON.stringify(files)).not.toContain(sha256('outside: 1\n'));
  });

  test('a root that is not there, and one that is a file', async () => {
    await rename(root, `${root}-moved`);
    const gone = await takeConfigSnapshot(partsOf(), 'no root');
    expect(gone.files['.env']).toMatchObject({ state: 'MISSING' });
    await writeFile(root, 'a file');
    const { files } = await takeConfigSnapshot(partsOf(), 'root is a file');
    expect(files['.env']).toMatchObject({ state: 'MISSING' });
  });

  test('a pattern that matches too much', async () => {
    await mkdir(join(root, 'many'));
    await Promise.all(Array.from({ length: 1_005 }, (_, number) => writeFile(join(root, `many/${number}.txt`), '1')));
    const { files } = await takeConfigSnapshot(partsOf({ patterns: 'many/*' }), 'many');
    expect(files['many/*']).toMatchObject({ state: 'REFUSED' });
    expect(Object.keys(files).filter((path) => path.startsWith('many/'))).toHaveLength(1_001);
  });

  test('names that a diff could not hold are spelt out', async () => {
    await writeFile(join(root, 'config/a "b"\n%.yaml'), 'x: 1\n');
    const { files } = await takeConfigSnapshot(partsOf(), 'names');
    expect(Object.keys(files)).toContain('config/a %22b%22%0A%25.yaml');
  });
});

test('PostgreSQL settings that differ from the defaults are there, those of a session are not', async () => {
  const row = await recordConfigSnapshot(partsOf(), 'settings');
  const text = String(
    await auditor.value(
      `SELECT content FROM public.config_contents JOIN public.config_snapshot_files USING (content_hash)
       WHERE files_hash = decode($1, 'hex') AND path = '@daybook/postgresql'`,
      [row.filesHash],
    ),
  );
  expect(text).toMatch(/^max_wal_size=2048$/m);
  expect(text).toMatch(/^server_version=\d+/m);
  expect(text).not.toMatch(/^(application_name|TimeZone|daybook\.canonical)=.*test/m);
});

test('two snapshots of whatever nodes can be compared', async () => {
  const one = await recordConfigSnapshot(partsOf(), 'one');
  await writeFile(join(root, 'config/app.yaml'), 'max_position: 100\nbroker:\n  apiKey: rotated-secret\n');
  const two = await recordConfigSnapshot(partsOf(), 'two');
  const { text } = await diffSnapshots(pool, one, two, { contextLines: 0, git: 'off' });
  expect(text).toContain('diff made by diff (npm)\ndiff --git a/config/app.yaml b/config/app.yaml\n');
  expect(text).toContain(
    `@@ -3 +3 @@ broker:\n-  apiKey: ${redactor.mark('first-secret')}\n+  apiKey: ${redactor.mark('rotated-secret')}\n`,
  );
  expect((await diffSnapshots(pool, one, one, { contextLines: 0, git: undefined })).text).toBe('');
  await expect(getSnapshot(pool, 'no id')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(getSnapshot(pool, one.id.replace(/^./, 'f').replace(/.$/, '0'))).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test.each(['config_snapshots', 'config_snapshot_files', 'config_contents'])(
  '%s refuses every change, on the record',
  async (table) => {
    await recordConfigSnapshot(partsOf(), 'to be kept');
    await using application = await openSession(database.urls.application);
    const column = table === 'config_contents' ? 'content' : table === 'config_snapshots' ? 'reason' : 'note';
    for (const sql of [
      `UPDATE public.${table} SET ${column} = 'x'`,
      `DELETE FROM public.${table}`,
      `TRUNCATE public.${table} CASCADE`,
    ]) {
      expect(await application.failure(sql)).toMatchObject({ code: 'DB001' });
    }
    const attempts = await auditor.run('SELECT FROM public.modification_attempts WHERE table_name = $1', [table]);
    expect(attempts.length).toBeGreaterThanOrEqual(2);
  },
);

test('the database refuses a content under a hash that is not its own', async () => {
  await using application = await openSession(database.urls.application);
  const refused = await application.failure("INSERT INTO public.config_contents VALUES (sha256('a'), 'b')");
  expect(refused).toMatchObject({ constraint: 'config_contents_hash_right' });
});
