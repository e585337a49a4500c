import type pg from 'pg';
import { decodeHex } from '../core/bytes.js';
import { verifyConsistency } from '../core/consistency-proof.js';
import type { BreakList } from '../core/log-breaks.js';
import { emptyRoot } from '../core/merkle-tree.js';
import type { LogName } from './rows.js';
import { lastIndexOf } from './verify-checkpoints.js';
import { dateAfter, entriesUntil, type DayStart } from './verify-days.js';

const hashBytes = 32;

/** A required anchor that is still missing after this long is a break. */
const anchorOverdueHours = 24;

interface RootRow {
  readonly date: string;
  readonly size: string;
  readonly entriesOfDay: string;
  readonly proof: string;
  /** Of its checkpoint, hex; null where that is not stored. */
  readonly root: string | null;
}

/** The state of the tree as a day's root left it. */
interface SealedDay {
  readonly date: string;
  readonly size: number;
  readonly root: Uint8Array | null;
}

/** What the entries of a log say of its days. */
interface LogDays {
  /** Entries up to the last one, those that were removed included. */
  readonly entries: number;
  /** Index of the first one that is still there. */
  readonly firstIndex: number;
  /** Of days that begin behind it. */
  readonly days: readonly DayStart[];
}

/**
 * Checks the daily roots of a log: no day is left out, each is the head at its last entry, proven from the day before. That
 * its checkpoint has the entries' root is checked with the checkpoints. When entries were recorded is not known of those that
 * were removed. Returns how many roots there are.
 */
export async function verifyRoots(
  client: pg.ClientBase,
  log: LogName,
  { entries, firstIndex, days }: LogDays,
  breaks: BreakList,
): Promise<number> {
  const found = await client.query<RootRow>(
    `SELECT sealed.date::text, sealed.tree_size AS size, sealed.entries_of_day AS "entriesOfDay",
            sealed.consistency_proof AS proof, head.root_hash AS root
     FROM public.merkle_roots AS sealed
       LEFT JOIN public.checkpoints AS head ON head.log = sealed.log AND head.tree_size = sealed.tree_size
     WHERE sealed.log = $1 ORDER BY sealed.date`,
    [log],
  );
  const [first] = found.rows;
  const [firstDay] = days;
  if (first !== undefined && firstDay !== undefined && firstDay.date < first.date) {
    breaks.add(
      'ROOT_MISSING',
      firstDay.index,
      `entries of ${firstDay.date} are older than the first root, ${first.date}`,
    );
  }
  let before: SealedDay | null = null;
  for (const row of found.rows) {
    if (before !== null) checkDate(before, row.date, entries, breaks);
    const size = Number(row.size);
    checkRoot(row, before, size <= firstIndex ? size : entriesUntil(row.date, days, entries), breaks);
    before = { date: row.date, size, root: row.root === null ? null : decodeHex(row.root) };
  }
  return found.rows.length;
}

function checkDate(before: SealedDay, date: string, entries: number, breaks: BreakList): void {
  const expected = dateAfter(before.date);
  if (date === expected) return;
  const index = before.size < entries ? before.size : null;
  breaks.add('ROOT_MISSING', index, `the root after that of ${before.date} is that of ${date}, not of ${expected}`);
}

function checkRoot(row: RootRow, before: SealedDay | null, expectedSize: number, breaks: BreakList): void {
  const size = Number(row.size);
  const sizeBefore = before?.size ?? 0;
  if (size !== expectedSize) {
    breaks.add(
      'ROOT_MISMATCH',
      Math.min(size, expectedSize),
      `the root of ${row.date} is of ${size} entries, ${expectedSize} were recorded until its midnight`,
    );
  }
  if (Number(row.entriesOfDay) !== size - sizeBefore) {
    const message = `the root of ${row.date} says ${row.entriesOfDay} entries of the day, its sizes ${size - sizeBefore}`;
    breaks.add('ROOT_MISMATCH', lastIndexOf(size), message);
  }
  if (row.root === null) {
    breaks.add(
      'ROOT_MISMATCH',
      lastIndexOf(size),
      `the checkpoint of ${size} entries, root of ${row.date}, is not stored`,
    );
    return;
  }
  const fromRoot = before === null ? emptyRoot : before.root;
  const isProven =
    fromRoot !== null &&
    verifyConsistency({
      fromSize: sizeBefore,
      fromRoot,
      toSize: size,
      toRoot: decodeHex(row.root),
      proof: readHashes(row.proof),
    });
  if (isProven) return;
  const message = `the root of ${row.date} is not proven from ${before === null ? 'the empty log' : before.date}`;
  breaks.add('ROOT_MISMATCH', sizeBefore < size ? sizeBefore : lastIndexOf(size), message);
}

function readHashes(hex: string): Uint8Array[] {
  const bytes = decodeHex(hex);
  return Array.from({ length: Math.ceil(bytes.length / hashBytes) }, (_, place) =>
    bytes.subarray(place * hashBytes, (place + 1) * hashBytes),
  );
}

/**
 * Checks what the table of anchors says: required ones are there a day after they were asked for, and an object that was
 * stored is the root's note. Returns the size of the largest root that is anchored outside this database.
 */
export async function verifyAnchors(client: pg.ClientBase, log: LogName, breaks: BreakList): Promise<number> {
  const wrong = await client.query<{ date: string; kind: string; target: string; size: string; isOverdue: boolean }>(
    `SELECT anchor.date::text, anchor.kind, anchor.target, sealed.tree_size AS size,
            anchor.status <> 'ANCHORED' AS "isOverdue"
     FROM public.anchors AS anchor
       LEFT JOIN public.merkle_roots AS sealed ON sealed.log = anchor.log AND sealed.date = anchor.date
       LEFT JOIN public.checkpoints AS head ON head.log = sealed.log AND head.tree_size = sealed.tree_size
     WHERE anchor.log = $1 AND CASE WHEN anchor.status = 'ANCHORED'
       THEN sealed.tree_size IS NULL OR (anchor.kind = 'object-store'
         AND anchor.evidence IS DISTINCT FROM convert_to(head.note, 'UTF8'))
       ELSE anchor.mode = 'required' AND anchor.created_at < now() - make_interval(hours => $2) END
     ORDER BY anchor.date, anchor.kind, anchor.target`,
    [log, anchorOverdueHours],
  );
  for (const { date, kind, target, size, isOverdue } of wrong.rows) {
    const index = lastIndexOf(Number(size));
    if (isOverdue) {
      const message = `the root of ${date} is required in ${kind} ${target}, and is not there ${anchorOverdueHours} h later`;
      breaks.add('ANCHOR_MISSING', index, message);
    } else {
      breaks.add(
        'ANCHOR_MISMATCH',
        index,
        `what ${kind} ${target} keeps of ${date} is not the note of that day's root`,
      );
    }
  }
  const anchored = await client.query<{ size: string | null }>(
    `SELECT max(sealed.tree_size) AS size
     FROM public.anchors AS anchor JOIN public.merkle_roots AS sealed USING (log, date)
     WHERE anchor.log = $1 AND anchor.status = 'ANCHORED'`,
    [log],
  );
  return Number(anchored.rows[0]?.size ?? 0);
}
