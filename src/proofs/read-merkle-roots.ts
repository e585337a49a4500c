import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';

/** A day's root with its signed note; `number` is its place in the order of sealing, over both logs. */
export interface MerkleRootRow {
  readonly log: LogName;
  /** As in 2026-11-20. */
  readonly date: string;
  readonly treeSize: string;
  readonly entriesOfDay: string;
  readonly rootHash: string;
  readonly checkpoint: string;
  readonly consistencyProof: readonly string[];
  readonly sealedAt: string;
  readonly sealedBy: string;
  readonly number: string;
}

/** What became of one anchor of a root. */
export interface AnchorRow {
  readonly log: LogName;
  readonly date: string;
  readonly kind: string;
  readonly target: string;
  readonly mode: string;
  readonly status: string;
  readonly reference: string | null;
  readonly at: string;
  readonly error: string | null;
}

type StoredRoot = Omit<MerkleRootRow, 'consistencyProof'> & { readonly proof: string };

const columns = `root.log, root.date::text AS date, root.tree_size AS "treeSize",
  root.entries_of_day AS "entriesOfDay", signed.root_hash AS "rootHash", signed.note AS checkpoint,
  encode(root.consistency_proof, 'hex') AS proof, root.sealed_at AS "sealedAt", root.sealed_by AS "sealedBy", number`;
// The checkpoints' own numbers are left out, so that `number` is the root's.
const source = `public.merkle_roots AS root
  JOIN (SELECT log, tree_size, root_hash, note FROM public.checkpoints) AS signed USING (log, tree_size)`;
const select = `SELECT ${columns} FROM ${source}`;

/** Roots, the newest first. Bounds are inclusive; what is null does not bound. */
export async function readMerkleRootPage(
  database: Queryable,
  selection: { readonly log: LogName | null; readonly from: string | null; readonly to: string | null },
  request: NumberedPageRequest,
): Promise<NumberedPage<MerkleRootRow>> {
  const page = await readNumberedPage<StoredRoot & { readonly number: string }>(
    database,
    {
      name: 'merkle-roots',
      columns,
      from: source,
      conditions: [
        '$1::text IS NULL OR root.log = $1',
        '$2::date IS NULL OR root.date >= $2',
        '$3::date IS NULL OR root.date <= $3',
      ],
      values: [selection.log, selection.from, selection.to],
    },
    request,
  );
  return { ...page, rows: page.rows.map(toRow) };
}

/** Roots sealed after number `after`, in order of sealing, at most `max`. */
export async function readRootsAfter(
  database: Queryable,
  log: LogName | null,
  after: string,
  max: number,
): Promise<MerkleRootRow[]> {
  const found = await database.query<StoredRoot>(
    `${select} WHERE number > $1 AND ($2::text IS NULL OR root.log = $2) ORDER BY number LIMIT $3`,
    [after, log, max],
  );
  return found.rows.map(toRow);
}

/** Number of the last root sealed for either log, "0" before the first. */
export async function readLastRootNumber(database: Queryable): Promise<string> {
  const found = await database.query<{ last: string }>(
    'SELECT coalesce(max(number), 0) AS last FROM public.merkle_roots',
  );
  return found.rows[0]?.last ?? '0';
}

/** The root of one day, null where it is not sealed. */
export async function readMerkleRoot(database: Queryable, log: LogName, date: string): Promise<MerkleRootRow | null> {
  const found = await database.query<StoredRoot>(`${select} WHERE root.log = $1 AND root.date = $2`, [log, date]);
  return found.rows[0] === undefined ? null : toRow(found.rows[0]);
}

/** The root of the last sealed day, null before the first. */
export async function readLastMerkleRoot(database: Queryable, log: LogName): Promise<MerkleRootRow | null> {
  const found = await database.query<StoredRoot>(`${select} WHERE root.log = $1 ORDER BY root.date DESC LIMIT 1`, [
    log,
  ]);
  return found.rows[0] === undefined ? null : toRow(found.rows[0]);
}

/** The anchors of several roots, by log and date. */
export async function readAnchors(
  database: Queryable,
  roots: readonly { readonly log: LogName; readonly date: string }[],
): Promise<AnchorRow[]> {
  const found = await database.query<AnchorRow>(
    `SELECT log, date::text AS date, kind, target, mode, status, reference, coalesce(anchored_at, created_at) AS at,
            last_error AS error
     FROM public.anchors WHERE (log, date) IN (SELECT * FROM unnest($1::text[], $2::date[]))
     ORDER BY log, date, kind, target`,
    [roots.map(({ log }) => log), roots.map(({ date }) => date)],
  );
  return found.rows;
}

/** What one kind of anchor gave for a root, in order of target: an RFC 3161 response, cosignature lines. */
export async function readRootEvidence(
  database: Queryable,
  root: { readonly log: LogName; readonly date: string },
  kind: 'timestamp' | 'witness',
): Promise<Uint8Array[]> {
  const found = await database.query<{ evidence: string }>(
    `SELECT encode(evidence, 'hex') AS evidence FROM public.anchors
     WHERE log = $1 AND date = $2 AND kind = $3 AND status = 'ANCHORED' ORDER BY target`,
    [root.log, root.date, kind],
  );
  return found.rows.map(({ evidence }) => Uint8Array.from(Buffer.from(evidence, 'hex')));
}

function toRow({ proof, ...row }: StoredRoot): MerkleRootRow {
  return { ...row, consistencyProof: proof.match(/.{64}/g) ?? [] };
}
