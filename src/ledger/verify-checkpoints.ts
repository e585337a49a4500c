import type pg from 'pg';
import { decodeHex, encodeHex } from '../core/bytes.js';
import { parseCheckpoint, type Checkpoint } from '../core/checkpoint.js';
import type { BreakCode, BreakList } from '../core/log-breaks.js';
import { parseNote, verifyNote, type SignedNote } from '../core/signed-note.js';
import { verifierKeyOf, type VerifierKey } from '../core/verifier-key.js';
import type { LogName } from './rows.js';

/** Notes per read; each has at most 64 kB. */
const notesRead = 500;

/** A stored checkpoint whose root is still to be compared with the entries'. */
export interface CheckpointHead {
  readonly size: number;
  /** Hex, as the row has it. */
  readonly root: string;
}

/** Keys whose signatures count, and whether the caller named them or the database did. */
export interface SignerKeys {
  readonly keys: readonly VerifierKey[];
  readonly pinned: boolean;
}

interface Fault {
  readonly code: BreakCode;
  readonly message: string;
}

/** The keys that the caller pinned; where there are none, those that the database says sign the log. */
export async function readSignerKeys(
  client: pg.ClientBase,
  log: LogName,
  pinned: readonly VerifierKey[],
): Promise<SignerKeys> {
  if (pinned.length > 0) return { keys: pinned, pinned: true };
  const found = await client.query<{ origin: string; publicKey: string }>(
    'SELECT origin, public_key AS "publicKey" FROM public.signing_keys WHERE log = $1',
    [log],
  );
  return { keys: found.rows.flatMap(({ origin, publicKey }) => readKey(origin, publicKey) ?? []), pinned: false };
}

/** A row that cannot be a key verifies nothing: what it signed is reported as UNKNOWN_KEY. */
function readKey(origin: string, publicKey: string): VerifierKey | null {
  try {
    return verifierKeyOf(origin, decodeHex(publicKey));
  } catch (err) {
    if (err instanceof SyntaxError) return null;
    throw err;
  }
}

/** What a note says and what is wrong with it, as a checkpoint of `log`; null for what is no checkpoint at all. */
export function judgeNote(
  log: LogName,
  note: string,
  keys: readonly VerifierKey[],
): { readonly checkpoint: Checkpoint | null; readonly faults: readonly Fault[] } {
  let signed: SignedNote;
  let checkpoint: Checkpoint;
  try {
    signed = parseNote(note);
    checkpoint = parseCheckpoint(signed.text);
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err;
    return { checkpoint: null, faults: [{ code: 'CHECKPOINT_MALFORMED', message: err.message }] };
  }
  const faults: Fault[] = [];
  if (!checkpoint.origin.endsWith(`/${log}`)) {
    faults.push({ code: 'CHECKPOINT_MALFORMED', message: `it is of ${checkpoint.origin}, not of the log ${log}` });
  }
  // A log signs under its own origin: the other log's key does not vouch for this one.
  const verdict = verifyNote(
    signed,
    keys.filter(({ name }) => name === checkpoint.origin),
  );
  if (verdict.status === 'unknown-key') {
    const signers = signed.signatures.map(({ name, keyId }) => `${name}+${keyId}`).join(', ');
    faults.push({ code: 'UNKNOWN_KEY', message: `it is signed by ${signers} alone` });
  } else if (verdict.status === 'bad-signature') {
    faults.push({ code: 'BAD_SIGNATURE', message: `the signature of ${verdict.key.name}+${verdict.key.keyId} is bad` });
  }
  return { checkpoint, faults };
}

/**
 * Reads the stored checkpoints of `above` < size ≤ `upTo`, all of them or the first `limit`, and checks each note by
 * itself: that it is a checkpoint of this log, says what its row says, and is signed. Their roots are left to the caller.
 */
export async function readCheckpoints(
  client: pg.ClientBase,
  range: { readonly log: LogName; readonly above: number; readonly upTo: number; readonly limit?: number },
  keys: readonly VerifierKey[],
  breaks: BreakList,
): Promise<CheckpointHead[]> {
  const heads: CheckpointHead[] = [];
  let above = toBigintText(range.above);
  for (;;) {
    const found = await client.query<{ size: string; root: string; note: string }>(
      `SELECT tree_size AS size, root_hash AS root, note FROM public.checkpoints
       WHERE log = $1 AND tree_size > $2 AND tree_size <= $3 ORDER BY tree_size LIMIT $4`,
      [range.log, above, toBigintText(range.upTo), range.limit ?? notesRead],
    );
    for (const row of found.rows) {
      const head = { size: Number(row.size), root: row.root };
      checkRow(range.log, row.size, head, row.note, keys, breaks);
      heads.push(head);
      above = row.size;
    }
    if (found.rows.length < notesRead || range.limit !== undefined) return heads;
  }
}

function checkRow(
  log: LogName,
  size: string,
  head: CheckpointHead,
  note: string,
  keys: readonly VerifierKey[],
  breaks: BreakList,
): void {
  const index = lastIndexOf(head.size);
  const { checkpoint, faults } = judgeNote(log, note, keys);
  for (const { code, message } of faults) breaks.add(code, index, `the checkpoint of ${size} entries: ${message}`);
  if (checkpoint === null) return;
  const root = encodeHex(checkpoint.root);
  if (checkpoint.size.toString() === size && root === head.root) return;
  breaks.add(
    'CHECKPOINT_MALFORMED',
    index,
    `the row says size ${size} and root ${head.root}, its note size ${checkpoint.size} and root ${root}`,
  );
}

/** Where a break of a checkpoint shows that is about the note itself: its last entry; null for the empty tree. */
export function lastIndexOf(size: number): number | null {
  return size > 0 ? size - 1 : null;
}

/** An integer as PostgreSQL's bigint takes it; what is larger, up to Infinity, becomes the largest there is. */
export function toBigintText(value: number): string {
  return (value >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(value)).toString();
}
