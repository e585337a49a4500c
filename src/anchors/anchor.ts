import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';

type AnchorKind = 'object-store' | 'timestamp' | 'witness';

/** A sealed day's root as it is handed to an anchor. `note`: the signed checkpoint, verbatim; `text`: what it signs. */
export interface SealedRoot {
  readonly log: LogName;
  readonly date: string;
  readonly treeSize: number;
  readonly note: string;
  readonly text: string;
  /** RFC 3339, UTC. */
  readonly sealedAt: string;
}

/** What proves that a root was anchored. */
export interface AnchorProof {
  /** Version id, serial number or key name: names the proof at the place that gave it. */
  readonly reference: string;
  /** The bytes that prove it to others: the stored note, the RFC 3161 response, the cosignature line. */
  readonly evidence: Uint8Array;
}

/** What is wrong with an anchor that was made earlier. */
export interface AnchorFault {
  readonly code: 'ANCHOR_MISSING' | 'ANCHOR_MISMATCH';
  readonly message: string;
}

/** A place outside the database that keeps or vouches for roots. */
export interface Anchor {
  readonly kind: AnchorKind;
  /** Which one, for people; stored with each root, never with a secret. */
  readonly target: string;
  readonly mode: 'best-effort' | 'required';
  /** Anchors a root. Called again after a failure or a crash: what is there already is found and used. */
  anchor(root: SealedRoot, signal: AbortSignal): Promise<AnchorProof>;
  /** Lays the proof beside the root in the object store, so that it is found without the database; repeating it is harmless. */
  keep?(root: SealedRoot, proof: AnchorProof): Promise<void>;
  /** Looks whether the proof still stands, null where it does. Throws where that cannot be seen now. */
  verify(root: SealedRoot, proof: AnchorProof, signal: AbortSignal): Promise<AnchorFault | null>;
}

/** A row of the table `anchors` together with its root. */
export interface AnchorTask {
  readonly kind: AnchorKind;
  readonly target: string;
  readonly mode: 'best-effort' | 'required';
  readonly attempts: number;
  readonly root: SealedRoot;
  readonly proof: AnchorProof | null;
}

interface TaskRow {
  readonly log: LogName;
  readonly date: string;
  readonly kind: AnchorKind;
  readonly target: string;
  readonly mode: 'best-effort' | 'required';
  readonly attempts: number;
  readonly treeSize: string;
  readonly note: string;
  readonly sealedAt: string;
  readonly reference: string | null;
  readonly evidence: string | null;
}

/**
 * Anchors of one status by log, date, kind and target after `after`, at most `max`; pending ones only when they are due, and
 * for a witness only the earliest of each log: it never signs a smaller tree after a larger one.
 */
export async function readAnchorTasks(
  database: Queryable,
  status: 'PENDING' | 'ANCHORED',
  after: readonly [string, string, string, string] | null,
  max: number,
): Promise<AnchorTask[]> {
  return readTasks(
    database,
    `status = $1 AND (status = 'ANCHORED' OR next_attempt_at <= clock_timestamp())
       AND (status = 'ANCHORED' OR kind <> 'witness' OR NOT EXISTS (
         SELECT FROM public.anchors AS earlier WHERE earlier.log = anchors.log AND earlier.kind = anchors.kind
           AND earlier.target = anchors.target AND earlier.date < anchors.date AND earlier.status = 'PENDING'))
       AND ($2::text IS NULL OR (log, date, kind, target) > ($2, $3::date, $4, $5))
     ORDER BY log, date, kind, target LIMIT $6`,
    [status, ...(after ?? [null, null, null, null]), max],
  );
}

async function readTasks(database: Queryable, condition: string, values: readonly unknown[]): Promise<AnchorTask[]> {
  const found = await database.query<TaskRow>(
    `SELECT anchors.log, anchors.date::text AS date, kind, target, mode, attempts, root.tree_size AS "treeSize",
            signed.note, root.sealed_at AS "sealedAt", reference, encode(evidence, 'hex') AS evidence
     FROM public.anchors JOIN public.merkle_roots AS root USING (log, date)
       JOIN public.checkpoints AS signed USING (log, tree_size)
     WHERE ${condition}`,
    [...values],
  );
  return found.rows.map((row) => ({
    kind: row.kind,
    target: row.target,
    mode: row.mode,
    attempts: row.attempts,
    root: {
      log: row.log,
      date: row.date,
      treeSize: Number(row.treeSize),
      note: row.note,
      text: row.note.slice(0, row.note.indexOf('\n\n') + 1),
      sealedAt: row.sealedAt,
    },
    proof:
      row.reference === null || row.evidence === null
        ? null
        : { reference: row.reference, evidence: Uint8Array.from(Buffer.from(row.evidence, 'hex')) },
  }));
}

/** Anchored roots whose proof was not laid beside them yet, oldest first, at most `max`. */
export function readUnkeptTasks(database: Queryable, max: number): Promise<AnchorTask[]> {
  return readTasks(
    database,
    `status = 'ANCHORED' AND kept_at IS NULL AND kind <> 'object-store' ORDER BY anchored_at LIMIT $1`,
    [max],
  );
}

/** The place of a task in the order of readAnchorTasks. */
export function placeOf(task: AnchorTask): readonly [string, string, string, string] {
  return [task.root.log, task.root.date, task.kind, task.target];
}
