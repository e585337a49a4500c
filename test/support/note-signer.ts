import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { concatBytes, decodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { cosignedMessage } from '../../src/core/cosignature.js';
import type { NoteSignature } from '../../src/core/signed-note.js';
import { verifierKeyOf, type VerifierKey } from '../../src/core/verifier-key.js';

/** Signs with node:crypto, by a key that a seed gives: the tests' own, so nothing of the product signs for them. */
export interface NoteSigner {
  /** Of the log's own signatures, type 1. */
  readonly key: VerifierKey;
  /** Of cosignatures, type 4; same name and public key. */
  readonly witnessKey: VerifierKey;
  sign(text: string): NoteSignature;
  cosign(text: string, seconds: number): NoteSignature;
}

/** `seed`: one byte, repeated 32 times. */
export function createNoteSigner(name: string, seed: number): NoteSigner {
  const privateKey = createPrivateKey({
    key: Buffer.concat([decodeHex('302e020100300506032b657004220420'), new Uint8Array(32).fill(seed)]),
    format: 'der',
    type: 'pkcs8',
  });
  const publicKey = Uint8Array.from(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32));
  const signBytes = (message: Uint8Array) => Uint8Array.from(sign(null, message, privateKey));
  const key = verifierKeyOf(name, publicKey);
  const witnessKey = verifierKeyOf(name, publicKey, 4);
  return {
    key,
    witnessKey,
    sign: (text) => ({ name, keyId: key.keyId, signature: signBytes(encodeUtf8(text)) }),
    cosign: (text, seconds) => {
      const time = new Uint8Array(8);
      new DataView(time.buffer).setBigUint64(0, BigInt(seconds));
      return {
        name,
        keyId: witnessKey.keyId,
        signature: concatBytes(time, signBytes(cosignedMessage(text, seconds))),
      };
    },
  };
}
