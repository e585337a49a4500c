import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type pg from 'pg';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

let database: TestDatabase;
let superuser: SqlSession;
let lost: string[];

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = await openSession(database.urls.superuser);
});

afterAll(async () => {
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

beforeEach(() => {
  lost = [];
});

function open(): pg.Pool {
  return openPool({ ...ledgerConnection(database.urls.application, 'test'), max: 1 }, (error) => {
    lost.push((error as { code?: string }).code ?? '');
  });
}

async function pidOf(asked: Pick<pg.Pool, 'query'>): Promise<number> {
  return (await asked.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid ?? 0;
}

/** What a restart of the server, or an administrator, does. */
const terminate = (pid: number) => superuser.run('SELECT pg_terminate_backend($1)', [pid]);
const adminShutdown = '57P01';

test('a connection that breaks in the pool is noted once, and replaced', async () => {
  const pool = open();
  const pid = await pidOf(pool);
  await terminate(pid);
  await waitUntil('it is noted', () => lost.length > 0);
  expect(await pidOf(pool)).not.toBe(pid);
  await pool.end();
  expect(lost).toEqual([adminShutdown]);
});

test('one that breaks between two queries of its borrower is noted, and the next query fails', async () => {
  const pool = open();
  const client = await pool.connect();
  await terminate(await pidOf(client));
  await waitUntil('it is noted', () => lost.length > 0);
  await expect(client.query('SELECT')).rejects.toThrow();
  client.release();
  expect(await pidOf(pool)).toBeGreaterThan(0);
  await pool.end();
  expect(lost[0]).toBe(adminShutdown);
});

test('one that breaks while its pool closes ends no process', async () => {
  const pool = open();
  const pid = await pidOf(pool);
  // It does not see the farewell before it is ended.
  process.kill(pid, 'SIGSTOP');
  try {
    await pool.end();
    await terminate(pid);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await waitUntil('it is noted', () => lost.length > 0);
  expect(lost).toEqual([adminShutdown]);
});
