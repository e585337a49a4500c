import { encodeHex, equalBytes } from '../core/bytes.js';
import type { Checkpoint } from '../core/checkpoint.js';
import { BreakList, type LogBreak } from '../core/log-breaks.js';
import { emptyRoot } from '../core/merkle-tree.js';
import { encodeVerifierKey, type VerifierKey } from '../core/verifier-key.js';
import { judgeHead, type JudgedHead, type SignerStatus, type Trust } from '../core/verify-tlog-proof.js';
import { bodyKindOf } from './body-verifier.js';
import { LayoutReadError, type LayoutReader } from './layout-reader.js';
import { readHead } from './read-note.js';
import { verifyEntries, type EntriesVerification } from './verify-entries.js';
import { lastOf, verifyRoots, type RootsVerification } from './verify-roots.js';

export interface LayoutOptions {
  readonly reader: LayoutReader;
  /** Of the log that is expected; absent: the checkpoint says which log it is of, and the result says so. */
  readonly origin?: string;
  /** Pinned keys of the log and of witnesses. */
  readonly keys: readonly VerifierKey[];
  /** Signed notes that the auditor kept of this log. */
  readonly earlierCheckpoints?: readonly string[];
  /** Called after each bundle of up to 256 entries. */
  readonly onProgress?: (progress: LayoutProgress) => void;
  readonly signal?: AbortSignal;
}

export interface LayoutProgress {
  readonly checked: number;
  /** Entries that the checkpoint claims. */
  readonly total: number;
}

/** What one verification of one log in the static layout found. */
export interface LayoutVerification {
  /** The folder or address. */
  readonly source: string;
  /** Null when the checkpoint is malformed. */
  readonly origin: string | null;
  /** Whether the origin was named by the caller; else it is what the checkpoint says. */
  readonly originExpected: boolean;
  readonly signer: SignerStatus;
  /** Pinned keys whose signatures under the checkpoint are good. */
  readonly signedBy: readonly string[];
  /** Entries and root hash (hex) that the checkpoint claims; null when it is malformed. */
  readonly treeSize: number | null;
  readonly rootHash: string | null;
  /** Entries read and checked. */
  readonly entries: number;
  readonly seconds: number;
  readonly entriesPerSecond: number;
  /** `chain_hash` of the last entry that was read, computed from the entries alone, as hex; 64 zeros for none. */
  readonly headChainHash: string;
  /** Published tiles of hashes that were compared. */
  readonly tiles: number;
  /** Earlier checkpoints that were compared. */
  readonly earlierCheckpoints: number;
  /** Days' roots: how many were compared, cosigned by a pinned witness, and accompanied by a timestamp. */
  readonly roots: Pick<RootsVerification, 'roots' | 'witnessed' | 'timestamped' | 'firstDate' | 'lastDate'>;
  readonly firstBreak: LogBreak | null;
  /** The first breaks by index, at most `breaksKeptMax`. */
  readonly breaks: readonly LogBreak[];
  readonly breakCount: number;
  /** What an intact result does not vouch for, in words. */
  readonly notChecked: readonly string[];
}

const noRoots: RootsVerification = {
  roots: 0,
  witnessed: 0,
  timestamped: 0,
  firstDate: null,
  lastDate: null,
  notChecked: [],
};

/**
 * Re-derives one log from its static layout: entries, tiles, checkpoint, days' roots, and what the auditor kept. Reads every
 * entry once, in bounded memory, and stops at the first bundle that cannot be read, whatever size the checkpoint claims.
 * Throws LayoutReadError where the source cannot be read or holds no checkpoint, and the signal's reason.
 */
export async function verifyLayout(options: LayoutOptions): Promise<LayoutVerification> {
  const startedMs = performance.now();
  const { reader, keys } = options;
  const trust: Trust = options.origin === undefined ? { keys } : { keys, origin: options.origin };
  const head = await readHead(reader, 'checkpoint', trust);
  if (head === null) throw new LayoutReadError(`there is no checkpoint in ${reader.description}`);
  const breaks = new BreakList();
  for (const { code, message } of head.faults) breaks.add(code, null, `checkpoint: ${message}`);
  // The entries of another log would only bury the one thing that is wrong.
  const checkpoint = head.checkpoint?.origin === (options.origin ?? head.checkpoint?.origin) ? head.checkpoint : null;
  const found = checkpoint === null ? null : await verifyContent(options, checkpoint, breaks);
  const seconds = (performance.now() - startedMs) / 1000;
  const entries = found?.entries.count ?? 0;
  const { notChecked: _, ...roots } = found?.roots ?? noRoots;
  return {
    source: reader.description,
    origin: head.checkpoint?.origin ?? null,
    originExpected: options.origin !== undefined,
    signer: head.signer,
    signedBy: head.signedBy.map(encodeVerifierKey),
    treeSize: head.checkpoint?.size ?? null,
    rootHash: head.checkpoint === null ? null : encodeHex(head.checkpoint.root),
    entries,
    seconds,
    entriesPerSecond: entries / Math.max(seconds, 0.001),
    headChainHash: found?.entries.headChainHash ?? '00'.repeat(32),
    tiles: found?.entries.tiles ?? 0,
    earlierCheckpoints: found?.earlier ?? 0,
    roots,
    firstBreak: breaks.first[0] ?? null,
    breaks: breaks.first,
    breakCount: breaks.count,
    notChecked: listNotChecked(options, head, found),
  };
}

interface Content {
  readonly entries: EntriesVerification;
  readonly roots: RootsVerification;
  readonly earlier: number;
}

async function verifyContent(options: LayoutOptions, checkpoint: Checkpoint, breaks: BreakList): Promise<Content> {
  const trust: Trust = { keys: options.keys, origin: checkpoint.origin };
  const earlier = readEarlier(options.earlierCheckpoints ?? [], trust, breaks);
  const entries = await verifyEntries({
    ...options,
    size: checkpoint.size,
    kind: bodyKindOf(checkpoint.origin),
    sizes: earlier.map(({ size }) => size),
    breaks,
  });
  const { whole } = entries;
  if (whole !== null && !equalBytes(whole.root, checkpoint.root)) {
    const message = `the ${whole.size} entries give the root ${encodeHex(whole.root)}, signed is ${encodeHex(checkpoint.root)}`;
    breaks.add('CHECKPOINT_MISMATCH', lastOf(whole.size), message);
  }
  const compared = earlier.filter((kept) => compareEarlier(kept, checkpoint, entries, breaks));
  const roots = await verifyRoots({ ...options, trust, checkpoint, heads: entries.days, whole, breaks });
  return { entries, roots, earlier: compared.length };
}

/** The checkpoints among the notes that the auditor kept. */
function readEarlier(notes: readonly string[], trust: Trust, breaks: BreakList): Checkpoint[] {
  return notes.flatMap((note, place) => {
    const { checkpoint, faults } = judgeHead(note, trust);
    for (const { code, message } of faults) breaks.add(code, null, `earlier checkpoint ${place + 1}: ${message}`);
    return checkpoint === null || checkpoint.origin !== trust.origin ? [] : [checkpoint];
  });
}

/** Whether the kept checkpoint could be compared. */
function compareEarlier(
  kept: Checkpoint,
  checkpoint: Checkpoint,
  entries: EntriesVerification,
  breaks: BreakList,
): boolean {
  if (kept.size > checkpoint.size) {
    const message = `an earlier checkpoint covers ${kept.size} entries, the published one ${checkpoint.size}`;
    breaks.add('TAIL_TRUNCATED', checkpoint.size, message);
    return true;
  }
  const root = kept.size === 0 ? emptyRoot : entries.rootsAt.get(kept.size);
  if (root === undefined) return false;
  if (!equalBytes(root, kept.root)) {
    const message = `an earlier checkpoint signs another root of the first ${kept.size} entries than they give`;
    breaks.add('CHECKPOINT_INCONSISTENT', lastOf(kept.size), message);
  }
  return true;
}

function listNotChecked(options: LayoutOptions, head: JudgedHead, found: Content | null): string[] {
  if (found === null || head.checkpoint === null) return ['everything but the checkpoint itself'];
  const { entries, roots, earlier } = found;
  const { size, origin } = head.checkpoint;
  const lines: string[] = [];
  if (head.signer === 'not-pinned') lines.push('who signed: no key of the log is pinned, so this is integrity only');
  if (entries.whole === null) lines.push(`entries from index ${entries.count} on, and every hash over them`);
  if (bodyKindOf(origin) === null)
    lines.push(`type and recording time of the entries: ${origin} is not a log of a known kind`);
  if (entries.absentPartials.length > 0)
    lines.push(`partial tiles that are not published: ${entries.absentPartials.join(', ')}`);
  const uncompared = (options.earlierCheckpoints?.length ?? 0) - earlier;
  if (uncompared > 0) lines.push(`${uncompared} of the earlier checkpoints`);
  lines.push(...describeRoots(options, found), ...roots.notChecked);
  lines.push(`anything beyond the ${size} entries of the checkpoint, and whether other readers are shown the same one`);
  lines.push("columns of the database that are not part of an entry's body, and whether what was recorded is true");
  return lines;
}

function describeRoots(options: LayoutOptions, { roots, entries }: Content): string[] {
  const lines: string[] = [];
  if (roots.roots === 0) lines.push("the days' roots: none were found here");
  else if (roots.lastDate !== null && entries.days.lastDay !== null && roots.lastDate < entries.days.lastDay) {
    lines.push(`days after ${roots.lastDate}: they have no root yet`);
  }
  if (!options.keys.some(({ type }) => type === 4)) lines.push('cosignatures: no key of a witness is pinned');
  else if (roots.witnessed < roots.roots) {
    lines.push(
      `witnesses: ${roots.roots - roots.witnessed} of the days' roots have no cosignature by a pinned witness`,
    );
  }
  if (roots.timestamped > 0) {
    const command =
      "sed '/^$/,$d' roots/<date>.checkpoint | " +
      'openssl ts -verify -in roots/<date>.tsr -data /dev/stdin -CAfile <authority.pem>';
    lines.push(`${roots.timestamped} timestamps of RFC 3161; check them with: ${command}`);
  }
  return lines;
}
