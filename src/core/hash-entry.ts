import { createHash } from 'node:crypto';

/** Hashes are 32 bytes; RFC 6962 §2.1 prefixes keep leaves, nodes and chain links from standing in for one another. */
const leafPrefix = Uint8Array.of(0x00);
const chainPrefix = Uint8Array.of(0x02);

/** `previous_hash` of index 0, as lower-case hex. */
export const genesisHash = '00'.repeat(32);

/** `verification_hash` of an entry: SHA-256(0x00 ‖ body), as lower-case hex. */
export function hashLeaf(body: string): string {
  return createHash('sha256').update(leafPrefix).update(body, 'utf8').digest('hex');
}

/** `chain_hash` of an entry: SHA-256(0x02 ‖ previous_hash ‖ verification_hash), all as lower-case hex. */
export function hashChainLink(previousHash: string, verificationHash: string): string {
  return createHash('sha256')
    .update(chainPrefix)
    .update(previousHash, 'hex')
    .update(verificationHash, 'hex')
    .digest('hex');
}
