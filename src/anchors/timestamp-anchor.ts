import { randomBytes } from 'node:crypto';
import { sha256 } from '../core/digest.js';
import { encodeUtf8 } from '../core/bytes.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { Anchor } from './anchor.js';
import { parsePemCertificates } from './certificate-chain.js';
import { describeUrl, parseAnchorUrl } from './post-to-anchor.js';
import { keepBesideRoot } from './store-anchor.js';
import { requestTimestamp } from './timestamp-authority.js';
import { verifyTimestamp } from './verify-timestamp.js';

/**
 * Has an RFC 3161 authority vouch that a root's note existed at a time: a token over SHA-256 of the text that the note
 * signs. The whole response is kept, also beside the root in the store, in the form that `openssl ts -verify` takes.
 * Throws CONFIG_INVALID for an unusable URL or certificate.
 */
export function timestampAnchor(options: {
  readonly url: string;
  /** PEM texts of the certificates that chains may end at. */
  readonly trustedCertificates: readonly string[];
  readonly mode: 'best-effort' | 'required';
  readonly store: ObjectStore | null;
}): Anchor {
  const { url, trustedCertificates, mode, store } = options;
  parsePemCertificates(trustedCertificates);
  return {
    kind: 'timestamp',
    target: describeUrl(parseAnchorUrl(url)),
    mode,
    async anchor(root, signal) {
      const digest = sha256(encodeUtf8(root.text));
      const granted = await requestTimestamp({ url, digest, nonce: randomBytes(8), trustedCertificates, signal });
      return { reference: granted.serial, evidence: granted.token };
    },
    keep: (root, { evidence }) => keepBesideRoot(store, root, 'tsr', evidence),
    verify(root, { evidence }) {
      const digest = sha256(encodeUtf8(root.text));
      const verdict = verifyTimestamp({ response: evidence, digest, nonce: null, trustedCertificates });
      return Promise.resolve(
        verdict.valid ? null : { code: 'ANCHOR_MISMATCH' as const, message: `the kept timestamp: ${verdict.message}` },
      );
    },
  };
}
