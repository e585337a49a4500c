import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { decodeHex, encodeHex } from '../../src/core/bytes.js';
import { parseCheckpoint } from '../../src/core/checkpoint.js';
import { verifyConsistency } from '../../src/core/consistency-proof.js';
import { parseNote, verifyNote } from '../../src/core/signed-note.js';
import type { VerifierKey } from '../../src/core/verifier-key.js';
import { logNames, type LogName } from '../../src/ledger/rows.js';
import { readFolder } from '../../src/verifier/read-folder.js';
import { verifyLayout } from '../../src/verifier/verify-layout.js';
import type { SeenCheckpoint } from './checkpoint-collector.js';
import { countUntil, type RecordedLog, type StoredRoot } from './recorded-log.js';
import type { SqlSession } from './sql-session.js';

/** Fails unless a log has one root for each of `dates`, of what was recorded by then, proven from day to day. */
export function expectDaysProven(log: RecordedLog, roots: readonly StoredRoot[], dates: readonly string[]): void {
  expect(roots.map(({ date, treeSize, rootHash }) => ({ date, treeSize, rootHash }))).toEqual(
    dates.map((date) => ({ date, treeSize: countUntil(log, date), rootHash: log.roots[countUntil(log, date)] })),
  );
  for (const [place, root] of roots.entries()) {
    const before = roots[place - 1];
    expect([root.date, root.entriesOfDay]).toEqual([root.date, root.treeSize - (before?.treeSize ?? 0)]);
    if (before === undefined) continue;
    const growth = {
      fromSize: before.treeSize,
      fromRoot: decodeHex(before.rootHash),
      toSize: root.treeSize,
      toRoot: decodeHex(root.rootHash),
      proof: root.proof.map(decodeHex),
    };
    expect([root.date, verifyConsistency(growth)]).toEqual([root.date, true]);
  }
}

/** Fails unless each checkpoint is signed by `keys`, has the root that the entries give, and is alone at its size. */
export function expectOneHistory(
  checkpoints: readonly SeenCheckpoint[],
  ledger: Readonly<Record<LogName, RecordedLog>>,
  keys: readonly VerifierKey[],
): void {
  const notes = new Map<string, string>();
  const faults: string[] = [];
  for (const { log, size, note, from } of checkpoints) {
    const signed = parseNote(note);
    const { origin, root } = parseCheckpoint(signed.text);
    const name = `${log} at ${size} from ${from}`;
    if (origin !== `daybook.local/${log}`) faults.push(`${name}: is of ${origin}`);
    if (verifyNote(signed, keys).status !== 'verified') faults.push(`${name}: is not signed by the pinned key`);
    if (encodeHex(root) !== ledger[log].roots[size]) faults.push(`${name}: has another root than the entries`);
    const known = notes.get(`${log} ${size}`);
    if (known !== undefined && known !== note) faults.push(`${name}: differs from an earlier one`);
    notes.set(`${log} ${size}`, note);
  }
  expect(faults).toEqual([]);
}

/** All checkpoints of the database. */
export async function readStoredCheckpoints(session: SqlSession): Promise<SeenCheckpoint[]> {
  const rows = await session.run('SELECT log, tree_size, note FROM public.checkpoints ORDER BY number');
  return rows.map(({ log, tree_size: size, note }) => ({
    log: log as LogName,
    size: Number(size),
    note: String(note),
    from: 'the database',
  }));
}

/** Fails unless every root is anchored in the folder of the store with the database's own note. */
export async function expectRootsAnchored(session: SqlSession, store: string): Promise<void> {
  const rows = await session.run(
    'SELECT log, date::text AS date, status, note FROM anchors JOIN merkle_roots USING (log, date) JOIN checkpoints USING (log, tree_size)',
  );
  const kept = await Promise.all(
    rows.map(async ({ log, date }) => readFile(join(store, `${String(log)}/roots/${String(date)}.checkpoint`), 'utf8')),
  );
  expect(rows.map((row, place) => ({ ...row, kept: kept[place] }))).toEqual(
    rows.map((row) => ({ ...row, status: 'ANCHORED', kept: row.note })),
  );
  const roots = await session.value('SELECT count(*) FROM merkle_roots');
  expect(rows).toHaveLength(Number(roots));
}

/** Fails unless an auditor with pinned keys and every checkpoint seen finds both published logs whole. */
export async function expectPublishedWhole(
  store: string,
  keys: readonly VerifierKey[],
  checkpoints: readonly SeenCheckpoint[],
  days: number,
): Promise<void> {
  for (const log of logNames) {
    const found = await verifyLayout({
      reader: await readFolder(join(store, log)),
      origin: `daybook.local/${log}`,
      keys: keys.filter(({ name }) => name === `daybook.local/${log}`),
      earlierCheckpoints: checkpoints.filter((seen) => seen.log === log).map(({ note }) => note),
    });
    const { breaks, signer, roots, entries, treeSize } = found;
    expect({ log, breaks, signer, roots: roots.roots, entries }).toEqual({
      log,
      breaks: [],
      signer: 'verified',
      roots: days,
      entries: treeSize,
    });
  }
}
