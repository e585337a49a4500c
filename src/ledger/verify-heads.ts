import type pg from 'pg';
import { encodeHex } from '../core/bytes.js';
import { parseCheckpoint } from '../core/checkpoint.js';
import type { BreakList } from '../core/log-breaks.js';
import { emptyRoot } from '../core/merkle-tree.js';
import { parseNote } from '../core/signed-note.js';
import type { LogName } from './rows.js';
import { judgeNote, lastIndexOf, readCheckpoints, toBigintText, type CheckpointHead } from './verify-checkpoints.js';
import type { LogPlan } from './verify-plan.js';
import type { RangeFinding, RangeTask } from './verify-range.js';
import type { ExpectedHead } from './verify-tree.js';

/** Checkpoints beyond the log's end whose notes are looked at; the first ones tell what happened. */
const beyondMax = 20;

/** A checkpoint that somebody kept: a signed note, verbatim, and where it comes from, for messages. */
export interface PublishedCheckpoint {
  readonly log: LogName;
  readonly note: string;
  readonly from: string;
}

export interface PublishedHead extends PublishedCheckpoint {
  /** Null where the note is no checkpoint. */
  readonly size: number | null;
}

/** Reads the size that a published note claims; what is wrong with it is found later. */
export function readPublished(published: PublishedCheckpoint): PublishedHead {
  try {
    return { ...published, size: parseCheckpoint(parseNote(published.note).text).size };
  } catch (err) {
    if (err instanceof SyntaxError) return { ...published, size: null };
    throw err;
  }
}

interface Mismatch {
  readonly head: CheckpointHead;
  readonly computed: string | null;
  readonly covered: number;
  count: number;
}

/** Compares one log's stored and published checkpoints with the roots that its entries give. */
export class CheckpointVerifier {
  readonly #published: readonly ExpectedHead[];
  /** Size of the largest checkpoint so far that has the entries' root: what came later is not vouched for by it. */
  #covered = 0;
  #matched = 0;
  #publishedSize = 0;
  #mismatch: Mismatch | null = null;

  constructor(
    private readonly plan: LogPlan,
    published: readonly PublishedHead[],
    private readonly breaks: BreakList,
  ) {
    this.#published = published
      .flatMap((one) => this.#expectPublished(one) ?? [])
      .sort((left, right) => left.size - right.size);
    for (const { judge } of this.#published.filter(({ size }) => size === 0)) judge(encodeHex(emptyRoot));
  }

  /** Stored checkpoints that have the entries' root. */
  get matched(): number {
    return this.#matched;
  }

  /** Size of the largest published checkpoint that is signed and has the entries' root. */
  get publishedSize(): number {
    return this.#publishedSize;
  }

  /** Checks the checkpoint of the empty tree, which belongs to no range. */
  async checkEmpty(client: pg.ClientBase): Promise<void> {
    const range = { log: this.plan.log, above: -1, upTo: 0 };
    for (const head of await readCheckpoints(client, range, this.plan.signer.keys, this.breaks)) {
      this.#judgeStored(head, encodeHex(emptyRoot));
    }
  }

  /** All checkpoints that a range is to judge, by ascending size. */
  expectedIn(task: RangeTask, finding: RangeFinding): ExpectedHead[] {
    const isInRange = ({ size }: CheckpointHead) =>
      size > task.checkpointsAbove && size <= task.first + task.width && size <= this.plan.length;
    const stored = finding.checkpoints.map((head) => ({
      ...head,
      judge: (computed: string | null) => this.#judgeStored(head, computed),
    }));
    return [...stored, ...this.#published].filter(isInRange).sort((left, right) => left.size - right.size);
  }

  /** After the last range: reports roots that differ, and stored checkpoints that cover more than the log holds. */
  async finish(client: pg.ClientBase): Promise<void> {
    this.#reportMismatch();
    const { log, length, ranges, signer } = this.plan;
    const lastRange = ranges.at(-1);
    const above = Math.max(0, lastRange === undefined ? 0 : lastRange.first + lastRange.width);
    await readCheckpoints(client, { log, above, upTo: Infinity, limit: beyondMax }, signer.keys, this.breaks);
    const found = await client.query<{ largest: string; count: string }>(
      `SELECT max(tree_size) AS largest, count(*) AS count FROM public.checkpoints
       WHERE log = $1 AND tree_size > $2`,
      [log, toBigintText(length)],
    );
    const [row] = found.rows;
    if (row === undefined || row.count === '0') return;
    const message = `a checkpoint covers ${row.largest} entries, the log holds ${length} (${row.count} such checkpoints)`;
    this.breaks.add('TAIL_TRUNCATED', length, message);
  }

  #judgeStored(head: CheckpointHead, computed: string | null): void {
    if (computed === head.root) {
      this.#covered = Math.max(this.#covered, head.size);
      this.#matched += 1;
    } else if (this.#mismatch === null) {
      this.#mismatch = { head, computed, covered: this.#covered, count: 1 };
    } else {
      this.#mismatch.count += 1;
    }
  }

  /** One altered entry changes every later root, so that only the first one tells where. */
  #reportMismatch(): void {
    if (this.#mismatch === null) return;
    const { head, computed, covered, count } = this.#mismatch;
    const found = computed === null ? 'cannot be computed, for an entry is missing' : `is ${computed}`;
    const others = count === 1 ? '' : `; ${count - 1} later ones differ too`;
    const message = `the checkpoint of ${head.size} entries has the root ${head.root}, that of the entries ${found}${others}`;
    this.breaks.add('CHECKPOINT_MISMATCH', covered < head.size ? covered : null, message);
  }

  #expectPublished({ log, note, from }: PublishedHead): ExpectedHead | null {
    const { checkpoint, faults } = judgeNote(log, note, this.plan.signer.keys);
    const index = checkpoint === null ? null : lastIndexOf(checkpoint.size);
    for (const { code, message } of faults) this.breaks.add(code, index, `the checkpoint of ${from}: ${message}`);
    if (checkpoint === null || faults.some(({ code }) => code === 'CHECKPOINT_MALFORMED')) return null;
    const { size } = checkpoint;
    const root = encodeHex(checkpoint.root);
    if (size > this.plan.length) {
      const message = `the checkpoint of ${from} covers ${size} entries, the log holds ${this.plan.length}`;
      this.breaks.add('TAIL_TRUNCATED', this.plan.length, message);
      return null;
    }
    const judge = (computed: string | null) => {
      if (computed === root) {
        this.#covered = Math.max(this.#covered, size);
        if (faults.length === 0) this.#publishedSize = Math.max(this.#publishedSize, size);
        return;
      }
      const found = computed === null ? 'cannot be computed, for an entry is missing' : `is ${computed}`;
      const message = `the checkpoint of ${from} gives ${size} entries the root ${root}, that of the entries ${found}`;
      this.breaks.add('CHECKPOINT_INCONSISTENT', this.#covered < size ? this.#covered : null, message);
    };
    return { size, root, judge };
  }
}
