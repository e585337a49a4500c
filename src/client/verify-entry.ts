import { verifyTlogProof, type Cosigner, type ProofFaultCode } from '../core/verify-tlog-proof.js';
import { encodeHex } from '../core/bytes.js';
import { parseVerifierKey } from '../core/verifier-key.js';

export interface VerifyEntryOptions {
  /** Field `body` of the entry, exactly as the API gave it, or its bytes. */
  readonly body: string | Uint8Array;
  /** Contents of the entry's `.tlog-proof`. */
  readonly tlogProof: string;
  /** Pinned: got once over a way that is trusted, not asked of the server that is checked. Those of witnesses may be among them. */
  readonly verifierKeys: readonly string[];
  /** Of the log, as in `daybook.local/signals`; absent: the log of whichever pinned key signed. */
  readonly origin?: string;
}

export type EntryVerdict =
  | {
      readonly valid: true;
      readonly origin: string;
      readonly index: number;
      /** Entries under the checkpoint that the proof leads to. */
      readonly treeSize: number;
      /** Hex, as in the columns of that name. */
      readonly verificationHash: string;
      readonly rootHash: string;
      /** Pinned witnesses that saw the checkpoint: name, and seconds since the Unix epoch. */
      readonly witnesses: readonly { readonly name: string; readonly seconds: number }[];
    }
  | { readonly valid: false; readonly code: ProofFaultCode; readonly message: string };

/**
 * Verifies, without asking anybody, that an entry with exactly this body stands in the log, under a head that a pinned key
 * signed. Runs in Node and in browsers. Throws SyntaxError for a verifier key that is none, which is the caller's mistake;
 * whatever is wrong with body or proof is answered.
 */
export function verifyEntry(options: VerifyEntryOptions): EntryVerdict {
  const { body, tlogProof, verifierKeys, origin } = options;
  const keys = verifierKeys.map(parseVerifierKey);
  const verdict = verifyTlogProof({ proof: tlogProof, body, keys, ...(origin === undefined ? {} : { origin }) });
  if (!verdict.valid) return verdict;
  // Without a key of the log anybody could have signed the head: nothing is proven.
  if (verdict.signer !== 'verified') {
    return { valid: false, code: 'UNKNOWN_KEY', message: 'no key of the log is pinned' };
  }
  return {
    valid: true,
    origin: verdict.origin,
    index: verdict.index,
    treeSize: verdict.size,
    verificationHash: encodeHex(verdict.leafHash),
    rootHash: encodeHex(verdict.root),
    witnesses: verdict.cosigners.map(({ key, seconds }: Cosigner) => ({ name: key.name, seconds })),
  };
}
