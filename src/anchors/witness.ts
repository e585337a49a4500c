import { decodeUtf8, encodeBase64, encodeUtf8 } from '../core/bytes.js';
import { encodeSize, parseCheckpoint, parseSize } from '../core/checkpoint.js';
import { verifyCosignature } from '../core/cosignature.js';
import type { Hash } from '../core/merkle-tree.js';
import { parseNote } from '../core/signed-note.js';
import { parseVerifierKey, type VerifierKey } from '../core/verifier-key.js';
import { DaybookError } from '../errors.js';
import { type AnchorAnswer, describeUrl, parseAnchorUrl, postToAnchor } from './post-to-anchor.js';

/** A cosignature line has some 200 bytes; a witness with many keys sends one for each. */
const ANSWER_BYTES_MAX = 64 * 1024;
/** How old a cosignature may be: a witness may repeat the one it made when the first answer was lost. */
const COSIGNATURE_AGE_MAX_SECONDS = 24 * 60 * 60;
/** How far the witness's clock may be ahead of ours. */
const COSIGNATURE_AHEAD_MAX_SECONDS = 5 * 60;
/** Limit of C2SP tlog-witness; a tree of 2^53 leaves needs fewer. */
const PROOF_HASHES_MAX = 63;
const WITNESSES_MAX = 32;

/** A witness as configured: its pinned key (type 4) and the URL prefix that takes checkpoints. */
export interface Witness {
  readonly key: VerifierKey;
  readonly url: string;
}

export interface CosignatureRequest extends Witness {
  /** The signed checkpoint, verbatim. */
  readonly note: string;
  /** Entries the checkpoint covers. */
  readonly size: number;
  /** Size of the last checkpoint that this witness cosigned for us; 0 if none is known. */
  readonly lastSize: number;
  /** The proof that the tree of `fromSize` entries is the beginning of the one of `size` (RFC 6962 §2.1.2). */
  readonly consistencyProof: (fromSize: number) => Promise<readonly Hash[]>;
  /** Now, in seconds since the Unix epoch. */
  readonly nowSeconds: number;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Cosignature {
  /** The signature line to add to the note, "— name base64", without its line break. */
  readonly line: string;
  /** When the witness signed, by its own clock, in seconds since the Unix epoch. */
  readonly seconds: number;
}

/**
 * Has a witness cosign a checkpoint (C2SP tlog-witness, add-checkpoint) and verifies the cosignature with the pinned key.
 * A witness that knows another size than `lastSize` says so, and is asked once more from there.
 *
 * Throws ANCHOR_UNAVAILABLE when the witness cannot be reached, does not answer in time, or its size moves between the two
 * requests; ANCHOR_REFUSED when it refuses or answers with what is not its cosignature of this note, made within the last
 * 24 hours and at most 5 minutes ahead of our clock; CONFIG_INVALID for an unusable URL. `details.fork` is true where the
 * answer is evidence that the log forked or was rolled back.
 */
export async function requestCosignature(request: CosignatureRequest): Promise<Cosignature> {
  const { key, note, size, lastSize } = request;
  const { text } = parseNote(note);
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.size !== size) throw new RangeError(`the checkpoint is of size ${checkpoint.size}, not ${size}`);
  const anchor = `the witness ${key.name} at ${describeUrl(parseAnchorUrl(request.url))}`;
  if (lastSize > size) throw shrunk(anchor, lastSize, size);
  const first = await addCheckpoint(request, anchor, lastSize);
  const witnessSize = readConflict(first, anchor);
  if (witnessSize === null) return readCosignature(first, request, anchor, text);
  if (witnessSize > size) throw shrunk(anchor, witnessSize, size);
  if (witnessSize === lastSize) throw contradicts(anchor, lastSize, size);
  const second = await addCheckpoint(request, anchor, witnessSize);
  const movedSize = readConflict(second, anchor);
  if (movedSize === null) return readCosignature(second, request, anchor, text);
  if (movedSize > size) throw shrunk(anchor, movedSize, size);
  if (movedSize === witnessSize) throw contradicts(anchor, witnessSize, size);
  throw new DaybookError(
    'ANCHOR_UNAVAILABLE',
    `${anchor} cosigned size ${movedSize} in between: another node submits the same log, retry later`,
  );
}

async function addCheckpoint(request: CosignatureRequest, anchor: string, oldSize: number): Promise<AnchorAnswer> {
  const { note, size, timeoutMs, signal } = request;
  const url = parseAnchorUrl(request.url);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/add-checkpoint`;
  // Nothing to prove from the empty tree, nor to the same tree.
  const proof = oldSize === 0 || oldSize === size ? [] : await request.consistencyProof(oldSize);
  if (proof.length > PROOF_HASHES_MAX) throw new RangeError(`a proof of ${proof.length} hashes is too long`);
  const lines = [`old ${encodeSize(oldSize)}`, ...proof.map(encodeBase64), ''];
  const body = encodeUtf8(lines.map((line) => `${line}\n`).join('') + note);
  const answerBytesMax = ANSWER_BYTES_MAX;
  return postToAnchor({
    anchor,
    url,
    contentType: 'text/plain; charset=utf-8',
    body,
    answerBytesMax,
    timeoutMs,
    signal,
  });
}

/** The size that a 409 names; null for any other answer. */
function readConflict({ status, mediaType, body }: AnchorAnswer, anchor: string): number | null {
  if (status !== 409) return null;
  const text = readText(body);
  if (mediaType === 'text/x.tlog.size' && text?.endsWith('\n')) {
    try {
      return parseSize(text.slice(0, -1));
    } catch (error) {
      throw refusal(`${anchor} answers 409 with a size that is none`, {}, error);
    }
  }
  // Without a size it can only be the other conflict: the same size, another root.
  throw refusal(
    `${anchor} reports a conflict without naming its size: it may have cosigned another root at this size, so this log ` +
      'may have FORKED: compare the checkpoints and run `daybook verify`',
    { fork: true },
  );
}

/** What the other statuses mean by the specification. */
const refusedStatuses: Readonly<Record<number, { means: string; fork: boolean }>> = {
  400: { means: 'finds the request malformed', fork: false },
  403: { means: "trusts none of the checkpoint's signatures: register this log's verifier key with it", fork: false },
  404: { means: "does not know the checkpoint's origin: register this log with it", fork: false },
  422: {
    means:
      'finds that this tree does not continue the one it cosigned: this log FORKED or was rewritten. ' +
      'Stop writing and run `daybook verify`',
    fork: true,
  },
};

function readCosignature(
  answer: AnchorAnswer,
  request: CosignatureRequest,
  anchor: string,
  noteText: string,
): Cosignature {
  const { status, body } = answer;
  if (status !== 200) {
    const refused = refusedStatuses[status];
    const message = `${anchor} ${refused?.means ?? 'answers with a status of no known meaning'} (HTTP ${status})`;
    throw refusal(message, { status, ...(refused?.fork ? { fork: true } : {}) });
  }
  const { key, nowSeconds } = request;
  const lines = readText(body)?.split('\n') ?? [];
  if (lines.pop() !== '' || lines.length === 0) throw refusal(`${anchor} did not answer with signature lines`);
  for (const line of lines) {
    const signature = readSignatureLine(line, noteText);
    if (signature === null) throw refusal(`${anchor} did not answer with signature lines`);
    // The specification: cosignatures from unknown keys are ignored. A witness has several while it changes its key.
    if (signature.name !== key.name || signature.keyId !== key.keyId) continue;
    const verified = verifyCosignature(noteText, signature, key);
    if (verified === null) throw refusal(`${anchor} sent a cosignature of this checkpoint that its key did not make`);
    const { seconds } = verified;
    if (seconds < nowSeconds - COSIGNATURE_AGE_MAX_SECONDS || seconds > nowSeconds + COSIGNATURE_AHEAD_MAX_SECONDS) {
      throw refusal(`${anchor} dated its cosignature ${seconds - nowSeconds} s from now: check both clocks`);
    }
    return { line, seconds };
  }
  throw refusal(`${anchor} sent no cosignature of the pinned key ${key.name}+${key.keyId}`);
}

function readSignatureLine(line: string, noteText: string) {
  try {
    return parseNote(`${noteText}\n${line}\n`).signatures[0] ?? null;
  } catch (error) {
    if ((error as Partial<Error> | null)?.name === 'SyntaxError') return null;
    throw error;
  }
}

/** Null for bytes that are not UTF-8. */
function readText(body: Uint8Array): string | null {
  try {
    return decodeUtf8(body);
  } catch {
    return null;
  }
}

function refusal(message: string, details: Record<string, unknown> = {}, cause?: unknown): DaybookError {
  return new DaybookError('ANCHOR_REFUSED', message, { details, cause });
}

function shrunk(anchor: string, witnessSize: number, size: number): DaybookError {
  return refusal(
    `${anchor} has already cosigned this log at size ${witnessSize}, and it is now submitted at ${size}: this log was ` +
      'ROLLED BACK or FORKED, or a larger checkpoint was submitted earlier. Stop writing and run `daybook verify`',
    { fork: true, witnessSize, size },
  );
}

/** The witness refuses the very size that it names itself. */
function contradicts(anchor: string, witnessSize: number, size: number): DaybookError {
  return witnessSize === size
    ? refusal(
        `${anchor} has cosigned another root at size ${size}: this log FORKED or was rewritten. Stop writing and run ` +
          '`daybook verify`',
        { fork: true, witnessSize, size },
      )
    : refusal(`${anchor} contradicts itself: it names size ${witnessSize} and refuses a proof from there`);
}

/**
 * Witnesses as configured: entries "<vkey> <url>", separated by commas or line breaks. None for an empty text. Throws
 * CONFIG_INVALID that says which entry is wrong and why.
 */
export function parseWitnesses(text: string): Witness[] {
  const entries = text
    .split(/[,\n]/)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (entries.length > WITNESSES_MAX) throw invalid(`more than ${WITNESSES_MAX} witnesses`);
  const witnesses = entries.map(parseWitness);
  const names = new Set(witnesses.map(({ key }) => `${key.name}+${key.keyId}`));
  if (names.size !== witnesses.length) throw invalid('a witness is named twice');
  return witnesses;
}

function parseWitness(entry: string, place: number): Witness {
  const which = `witness ${place + 1} (${entry.slice(0, 60)})`;
  const [vkey, url, ...rest] = entry.split(/\s+/);
  if (vkey === undefined || url === undefined || rest.length > 0) throw invalid(`${which} is not "<vkey> <url>"`);
  const parsed = parseAnchorUrl(url);
  if (parsed.search !== '') throw invalid(`${which}: its URL is a prefix and has no query`);
  return { key: parseWitnessKey(vkey, which), url: parsed.href };
}

function parseWitnessKey(vkey: string, which: string): VerifierKey {
  let key: VerifierKey;
  try {
    key = parseVerifierKey(vkey);
  } catch (error) {
    throw invalid(`${which} has a malformed verifier key: ${(error as Error).message}`, error);
  }
  if (key.type !== 4) throw invalid(`${which} has a key of type ${key.type}; witnesses cosign with type 4`);
  return key;
}

function invalid(message: string, cause?: unknown): DaybookError {
  return new DaybookError('CONFIG_INVALID', `the list of witnesses: ${message}`, { cause });
}
