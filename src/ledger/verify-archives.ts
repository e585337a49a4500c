import { encodeArchiveStatement, type ArchiveStatement } from '../core/archive-statement.js';
import { genesisHash } from '../core/hash-entry.js';
import type { BreakList } from '../core/log-breaks.js';
import { parseNote, verifyNote } from '../core/signed-note.js';
import type { VerifierKey } from '../core/verifier-key.js';
import type { Queryable } from './read-entries.js';

/** Rows per read; each has a note of at most 4 kB. */
const rowsRead = 1_000;

interface SignedArchive extends Omit<ArchiveStatement, 'origin'> {
  readonly number: string;
  readonly note: string;
}

interface Receipt {
  readonly number: string;
  readonly firstKept: string;
  readonly previousHash: string;
}

/**
 * Checks that archives lie one behind another from the first entry ever on, that each is what the log's key signed, and that
 * every removal ends where an archive does, with that one's hash: nobody without the key can tell of archives that were never
 * made, and so excuse entries that are gone.
 */
export async function verifyArchives(
  client: Queryable,
  keys: readonly VerifierKey[],
  breaks: BreakList,
): Promise<void> {
  const receipts = await client.query<Receipt>(
    `SELECT number, first_kept_index AS "firstKept", previous_hash AS "previousHash" FROM public.ledger_purges
     WHERE log = 'audit' ORDER BY first_kept_index`,
  );
  const waiting = receipts.rows.slice();
  let [next, link] = [0, genesisHash];
  for (let above = '-1'; ;) {
    const { rows } = await client.query<SignedArchive>(archivesAbove, [above]);
    for (const archive of rows) {
      checkArchive(archive, next, link, keys, breaks);
      next = Number(archive.lastIndex) + 1;
      link = archive.chainHash;
      above = archive.firstIndex;
      while (Number(waiting[0]?.firstKept ?? Infinity) <= next) checkReceipt(waiting.shift(), next, link, breaks);
    }
    if (rows.length < rowsRead) break;
  }
  for (const { number, firstKept } of waiting) {
    const message = `the removal ${number} ended before ${firstKept}, archives end before ${next}`;
    breaks.add('ARCHIVE_MISSING', next, message);
  }
}

const archivesAbove = `SELECT number, first_index AS "firstIndex", last_index AS "lastIndex",
    previous_hash AS "previousHash", chain_hash AS "chainHash", first_recorded_at AS "firstRecordedAt",
    last_recorded_at AS "lastRecordedAt", holds_signals AS "holdsSignals", object_key AS "objectKey", bytes,
    object_hash AS "objectHash", version_id AS "versionId", note
  FROM public.log_archives WHERE log = 'audit' AND first_index > $1 ORDER BY first_index LIMIT ${rowsRead}`;

function checkArchive(
  archive: SignedArchive,
  next: number,
  link: string,
  keys: readonly VerifierKey[],
  breaks: BreakList,
): void {
  const name = `the archive ${archive.number} of entries ${archive.firstIndex} to ${archive.lastIndex}`;
  if (Number(archive.firstIndex) !== next) {
    breaks.add('ARCHIVE_MISSING', next, `${name} follows entry ${next - 1}: what lies between is in no archive`);
  } else if (archive.previousHash !== link) {
    breaks.add(
      'ARCHIVE_MISMATCH',
      next,
      `${name} begins after ${archive.previousHash}, the one before ends in ${link}`,
    );
  }
  const fault = faultOf(archive, keys);
  if (fault !== null) breaks.add('ARCHIVE_MISMATCH', Number(archive.firstIndex), `${name}: ${fault}`);
}

/** Null where the row is what one of the keys signed. */
function faultOf(archive: SignedArchive, keys: readonly VerifierKey[]): string | null {
  try {
    const note = parseNote(archive.note);
    const origin = note.text.split('\n')[1] ?? '';
    if (note.text !== encodeArchiveStatement({ ...archive, origin })) return 'its row is not what was signed';
    const trusted = keys.filter(({ name }) => name === origin);
    return verifyNote(note, trusted).status === 'verified' ? null : 'no key of the log signed it';
  } catch (error) {
    if (error instanceof SyntaxError) return `its note: ${error.message}`;
    throw error;
  }
}

function checkReceipt(receipt: Receipt | undefined, next: number, link: string, breaks: BreakList): void {
  if (receipt === undefined || (Number(receipt.firstKept) === next && receipt.previousHash === link)) return;
  const { number, firstKept, previousHash } = receipt;
  const message = `the removal ${number} ended before ${firstKept} in ${previousHash}, where no archive ends so`;
  breaks.add('PURGE_UNEXPLAINED', Number(firstKept), message);
}
