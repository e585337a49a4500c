import { equalBytes } from '../core/bytes.js';
import type { Checkpoint } from '../core/checkpoint.js';
import type { BreakList } from '../core/log-breaks.js';
import type { JudgedHead, Trust } from '../core/verify-tlog-proof.js';
import { formatDay, parseDay } from './days.js';
import { findRoots, isPublished, rootPaths } from './find-roots.js';
import type { LayoutReader } from './layout-reader.js';
import { readAhead } from './read-ahead.js';
import { readHead } from './read-note.js';
import type { DayHeads, TreeHead } from './tree-heads.js';

const daysUnderWayMax = 8;

export interface RootsInput {
  readonly reader: LayoutReader;
  /** With the origin that the checkpoint has. */
  readonly trust: Trust;
  readonly checkpoint: Checkpoint;
  readonly heads: DayHeads;
  /** The tree of all entries; null when not all could be read. */
  readonly whole: TreeHead | null;
  readonly breaks: BreakList;
}

/** What was looked at; breaks are in the list that was handed in. */
export interface RootsVerification {
  readonly roots: number;
  /** Days whose root a pinned witness cosigned. */
  readonly witnessed: number;
  /** Days with an RFC 3161 response, which is not verified here. */
  readonly timestamped: number;
  readonly firstDate: string | null;
  readonly lastDate: string | null;
  readonly notChecked: readonly string[];
}

/** What is published of one day. */
interface DayEvidence {
  readonly date: string;
  readonly root: JudgedHead | null;
  readonly witnessed: JudgedHead | null;
  readonly isTimestamped: boolean;
}

/** Checks the days' roots against the entries: signature, size, root hash, that no day is left out, cosignatures. */
export async function verifyRoots(input: RootsInput): Promise<RootsVerification> {
  const { reader, heads, breaks } = input;
  const { days, isCapped } = await findRoots(reader, heads.firstDay, heads.lastDay);
  reportMissingDays(days, heads, breaks);
  const check = new RootsCheck(input);
  for await (const evidence of readAhead(days, daysUnderWayMax, (day) => readEvidence(input, formatDay(day)))) {
    await check.day(evidence);
  }
  const [first, last] = [days.at(0), days.at(-1)];
  return {
    ...check.counts,
    firstDate: first === undefined ? null : formatDay(first),
    lastDate: last === undefined ? null : formatDay(last),
    notChecked: isCapped ? [...check.notChecked, "days' roots over more than a hundred years"] : check.notChecked,
  };
}

async function readEvidence({ reader, trust }: RootsInput, date: string): Promise<DayEvidence> {
  const [root, witnessed, isTimestamped] = await Promise.all([
    readHead(reader, rootPaths.checkpoint(date), trust),
    readHead(reader, rootPaths.witnessed(date), trust),
    isPublished(reader, rootPaths.timestamp(date)),
  ]);
  return { date, root, witnessed, isTimestamped };
}

/** Every day is sealed from that of the first entry on, so the roots may begin earlier but not later, and leave no day out. */
function reportMissingDays(days: readonly number[], heads: DayHeads, breaks: BreakList): void {
  const [first] = days;
  if (first === undefined) return;
  const begin = parseDay(heads.firstDay ?? '');
  let expected = begin === null ? first : Math.min(begin, first);
  for (const day of days) {
    if (day > expected) {
      const [from, to] = [formatDay(expected), formatDay(day - 1)];
      const range = from === to ? `${from} has` : `${from} to ${to} have`;
      breaks.add('ROOT_MISSING', null, `${range} no root, ${formatDay(day)} has one`);
    }
    expected = day + 1;
  }
}

class RootsCheck {
  readonly counts = { roots: 0, witnessed: 0, timestamped: 0 };
  readonly notChecked: string[] = [];
  /** Entries that the published checkpoint covers by now: the log may grow while it is read. */
  #sizeNow: number | null = null;

  constructor(private readonly input: RootsInput) {}

  async day({ date, root, witnessed, isTimestamped }: DayEvidence): Promise<void> {
    const { breaks } = this.input;
    if (isTimestamped) this.counts.timestamped += 1;
    if (root === null) {
      breaks.add('ROOT_MISSING', null, `${date} has evidence of a root, but not the root itself`);
      return;
    }
    this.counts.roots += 1;
    for (const { code, message } of root.faults) breaks.add(code, null, `${rootPaths.checkpoint(date)}: ${message}`);
    if (root.checkpoint !== null) await this.#compare(date, root.checkpoint);
    if (witnessed !== null) this.#checkWitnessed(date, root, witnessed);
  }

  async #compare(date: string, root: Checkpoint): Promise<void> {
    const { heads, whole, checkpoint, breaks } = this.input;
    if (root.size > checkpoint.size) return this.#checkLater(date, root);
    const head = heads.at(date, whole);
    if (head === null) {
      this.notChecked.push(`the root of ${date}: how many entries were recorded by then could not be told`);
    } else if (head.size !== root.size) {
      const message = `the root of ${date} covers ${root.size} entries, ${head.size} were recorded by then`;
      breaks.add('ROOT_MISMATCH', Math.min(head.size, root.size), message);
    } else if (!equalBytes(head.root, root.root)) {
      const message = `the root of ${date} is not that of the first ${head.size} entries`;
      breaks.add('ROOT_MISMATCH', lastOf(head.size), message);
    }
  }

  /** A root above the checkpoint: sealed since the checkpoint was read, or entries were cut off. */
  async #checkLater(date: string, root: Checkpoint): Promise<void> {
    const { reader, trust, checkpoint, breaks } = this.input;
    this.#sizeNow ??= (await readHead(reader, 'checkpoint', trust))?.checkpoint?.size ?? 0;
    if (root.size <= this.#sizeNow) {
      this.notChecked.push(`the root of ${date}: it was sealed after the checkpoint that is checked here`);
      return;
    }
    const message = `the root of ${date} covers ${root.size} entries, the checkpoint ${checkpoint.size}`;
    breaks.add('TAIL_TRUNCATED', checkpoint.size, message);
  }

  #checkWitnessed(date: string, root: JudgedHead, witnessed: JudgedHead): void {
    const { breaks } = this.input;
    const path = rootPaths.witnessed(date);
    if (witnessed.text !== root.text) {
      breaks.add('ANCHOR_MISMATCH', null, `${path} is not over the same checkpoint as ${rootPaths.checkpoint(date)}`);
    }
    // What is wrong with the root is reported there.
    const own = witnessed.faults.filter(({ message }) => !root.faults.some((fault) => fault.message === message));
    for (const { code, message } of own) breaks.add(code, null, `${path}: ${message}`);
    if (witnessed.faults.length === 0 && witnessed.cosigners.length > 0) this.counts.witnessed += 1;
  }
}

/** The entry at which a tree of `size` entries shows that it is another; null for the empty tree. */
export function lastOf(size: number): number | null {
  return size === 0 ? null : size - 1;
}
