import { hash } from 'node:crypto';

/**
 * Hashes are SHA-256; the prefixes of RFC 6962 §2.1, and one more for chain links, keep leaves, nodes and links from
 * standing in for one another. As text, U+0000 is the byte 0x00 in UTF-8.
 */
const leafPrefix = '\0';
const chainPrefixHex = '02';

/** `previous_hash` of index 0, as lower-case hex. */
export const genesisHash = '00'.repeat(32);

/** `verification_hash` of an entry: SHA-256(0x00 ‖ body), as lower-case hex. */
export function hashLeaf(body: string): string {
  return hash('sha256', leafPrefix + body, 'hex');
}

/** `chain_hash` of an entry: SHA-256(0x02 ‖ previous_hash ‖ verification_hash), all as lower-case hex. */
export function hashChainLink(previousHash: string, verificationHash: string): string {
  return hash('sha256', Buffer.from(chainPrefixHex + previousHash + verificationHash, 'hex'), 'hex');
}
