import { encodeUtf8 } from './bytes.js';
import { parseCheckpoint, type Checkpoint } from './checkpoint.js';
import { verifyCosignature } from './cosignature.js';
import { verifyInclusion } from './inclusion-proof.js';
import { hashLeafBytes, type Hash } from './merkle-tree.js';
import { parseNote, verifyNote, type SignedNote } from './signed-note.js';
import { parseTlogProof, type TlogProof } from './tlog-proof.js';
import type { VerifierKey } from './verifier-key.js';

/** What can be wrong with one signed tree head or one proof, a closed list; docs/verification.md tells what each means. */
export const proofFaultCodes = {
  PROOF_MALFORMED: 'the file is not a C2SP tlog-proof',
  CHECKPOINT_MALFORMED: 'the note is not a checkpoint of the log that was asked for',
  UNKNOWN_KEY: 'no pinned key of the log signed the checkpoint',
  BAD_SIGNATURE: 'the signature of a pinned key is bad',
  NOT_INCLUDED: 'the hashes do not lead from these bytes at this index to the root of the checkpoint',
} as const;

export type ProofFaultCode = keyof typeof proofFaultCodes;

interface HeadFault {
  readonly code: Extract<ProofFaultCode, 'CHECKPOINT_MALFORMED' | 'UNKNOWN_KEY' | 'BAD_SIGNATURE'>;
  readonly message: string;
}

/** Whom a verifier believes. */
export interface Trust {
  /** Of the log (type 1; used only for the log they are named after) and of witnesses (type 4). */
  readonly keys: readonly VerifierKey[];
  /** Of the log that is expected; absent: the checkpoint says which log it is of. */
  readonly origin?: string;
}

/** `not-pinned`: nobody named a key of the log, so who signed is unknown. */
export type SignerStatus = 'verified' | 'not-pinned' | 'unknown-key' | 'bad-signature';

/** A pinned witness that saw the checkpoint, by its own clock. */
export interface Cosigner {
  readonly key: VerifierKey;
  /** Since the Unix epoch. */
  readonly seconds: number;
}

/** A checkpoint and what its signatures are worth. */
export interface JudgedHead {
  /** Null when the note is malformed; then there is one fault that says so. */
  readonly checkpoint: Checkpoint | null;
  /** What is signed: the note without its signatures. */
  readonly text: string;
  readonly signer: SignerStatus;
  /** Pinned keys of the log whose signatures are good. */
  readonly signedBy: readonly VerifierKey[];
  readonly cosigners: readonly Cosigner[];
  readonly faults: readonly HeadFault[];
}

/** Judges a signed tree head: its form, its log, the signatures of the log and those of witnesses. Never throws. */
export function judgeHead(note: string, trust: Trust): JudgedHead {
  let signed: SignedNote;
  let checkpoint: Checkpoint;
  try {
    signed = parseNote(note);
    checkpoint = parseCheckpoint(signed.text);
  } catch (err) {
    const faults = [{ code: 'CHECKPOINT_MALFORMED', message: messageOf(err) }] as const;
    return { checkpoint: null, text: '', signer: 'unknown-key', signedBy: [], cosigners: [], faults };
  }
  const faults: HeadFault[] = [];
  if (trust.origin !== undefined && checkpoint.origin !== trust.origin) {
    const message = `the checkpoint is of ${checkpoint.origin}, expected is ${trust.origin}`;
    faults.push({ code: 'CHECKPOINT_MALFORMED', message });
  }
  const { signer, signedBy } = judgeSigner(signed, checkpoint.origin, trust.keys, faults);
  const cosigners = judgeCosigners(signed, trust.keys, faults);
  return { checkpoint, text: signed.text, signer, signedBy, cosigners, faults };
}

/** A key speaks for the log it is named after only: else one log's head could be passed off as another's. */
function judgeSigner(
  note: SignedNote,
  origin: string,
  keys: readonly VerifierKey[],
  faults: HeadFault[],
): Pick<JudgedHead, 'signer' | 'signedBy'> {
  if (!keys.some(({ type }) => type === 1)) return { signer: 'not-pinned', signedBy: [] };
  const verdict = verifyNote(
    note,
    keys.filter(({ name }) => name === origin),
  );
  if (verdict.status === 'verified') return { signer: 'verified', signedBy: verdict.keys };
  if (verdict.status === 'bad-signature') {
    const { name, keyId } = verdict.key;
    faults.push({ code: 'BAD_SIGNATURE', message: `the signature of ${name}+${keyId} is bad` });
  } else {
    faults.push({ code: 'UNKNOWN_KEY', message: `none of the pinned keys signed the checkpoint of ${origin}` });
  }
  return { signer: verdict.status, signedBy: [] };
}

function judgeCosigners(note: SignedNote, keys: readonly VerifierKey[], faults: HeadFault[]): Cosigner[] {
  const cosigners: Cosigner[] = [];
  for (const line of note.signatures) {
    const known = keys.filter(({ type, name, keyId }) => type === 4 && name === line.name && keyId === line.keyId);
    const good = known
      .map((key) => ({ key, seconds: verifyCosignature(note.text, line, key)?.seconds }))
      .find((cosigner): cosigner is Cosigner => cosigner.seconds !== undefined);
    if (good !== undefined) cosigners.push(good);
    else if (known.length > 0) {
      faults.push({ code: 'BAD_SIGNATURE', message: `the cosignature of ${line.name}+${line.keyId} is bad` });
    }
  }
  return cosigners;
}

export interface TlogProofInput extends Trust {
  /** Contents of a `.tlog-proof`. */
  readonly proof: string;
  /** The entry's exact bytes, or the text whose UTF-8 they are. */
  readonly body: string | Uint8Array;
}

export type TlogProofVerdict =
  | {
      readonly valid: true;
      readonly origin: string;
      /** Of the entry in its log, from 0. */
      readonly index: number;
      /** Entries and root of the checkpoint's tree. */
      readonly size: number;
      readonly root: Hash;
      readonly leafHash: Hash;
      readonly signer: Extract<SignerStatus, 'verified' | 'not-pinned'>;
      readonly signedBy: readonly VerifierKey[];
      readonly cosigners: readonly Cosigner[];
    }
  | { readonly valid: false; readonly code: ProofFaultCode; readonly message: string };

/**
 * Verifies offline that an entry with exactly these bytes stands in a log, by a signed tree head. Without a key of type 1
 * the answer can be valid with signer `not-pinned`: then anybody could have made head and proof. Never throws.
 */
export function verifyTlogProof(input: TlogProofInput): TlogProofVerdict {
  let proof: TlogProof;
  let body: Uint8Array;
  try {
    proof = parseTlogProof(input.proof);
    body = typeof input.body === 'string' ? encodeUtf8(input.body) : input.body;
  } catch (err) {
    return { valid: false, code: 'PROOF_MALFORMED', message: messageOf(err) };
  }
  const { checkpoint, signer, signedBy, cosigners, faults } = judgeHead(proof.checkpoint, input);
  const [fault] = faults;
  if (fault !== undefined) return { valid: false, ...fault };
  if (checkpoint === null || (signer !== 'verified' && signer !== 'not-pinned')) {
    return { valid: false, code: 'UNKNOWN_KEY', message: 'nobody vouches for the checkpoint' };
  }
  const { origin, size, root } = checkpoint;
  const leafHash = hashLeafBytes(body);
  if (!verifyInclusion({ leafHash, index: proof.index, size, proof: proof.hashes, root })) {
    const message = `these ${body.length} bytes are not entry ${proof.index} of the ${size} under the checkpoint's root`;
    return { valid: false, code: 'NOT_INCLUDED', message };
  }
  return { valid: true, origin, index: proof.index, size, root, leafHash, signer, signedBy, cosigners };
}

function messageOf(err: unknown): string {
  if (err instanceof SyntaxError) return err.message;
  throw err;
}
