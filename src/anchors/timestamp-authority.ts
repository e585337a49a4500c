import { Integer, Null, OctetString } from 'asn1js';
import { AlgorithmIdentifier, MessageImprint, TimeStampReq } from 'pkijs';
import { DaybookError } from '../errors.js';
import { describeUrl, parseAnchorUrl, postToAnchor } from './post-to-anchor.js';
import { type Timestamp, verifyTimestamp } from './verify-timestamp.js';

/** A token with its certificates has some 3 to 10 KiB. */
const RESPONSE_BYTES_MAX = 64 * 1024;
const sha256Id = '2.16.840.1.101.3.4.2.1';

export interface TimestampRequest {
  /** Where the authority takes POST requests, as in "http://tsa.example/". Plain http is usual: the token is signed. */
  readonly url: string;
  /** SHA-256 of the note's text, 32 bytes. */
  readonly digest: Uint8Array;
  /** Eight random bytes, fresh for each request: it ties the answer to this request. */
  readonly nonce: bigint | Uint8Array;
  /** PEM texts of the certificates that chains may end at. */
  readonly trustedCertificates: readonly string[];
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GrantedTimestamp extends Timestamp {
  /** DER of the whole TimeStampResp, as received: what `openssl ts -verify -in` takes. */
  readonly token: Uint8Array;
}

/**
 * Has an authority timestamp a digest (RFC 3161 over HTTP, §3.4) and checks what it answers. Throws CONFIG_INVALID for an
 * unusable URL or trusted certificate, ANCHOR_UNAVAILABLE when the authority cannot be reached or does not answer in time,
 * and ANCHOR_REFUSED, with `details.reason` (a TimestampBreak) where the token itself is wrong, for any other answer.
 */
export async function requestTimestamp(request: TimestampRequest): Promise<GrantedTimestamp> {
  const { digest, trustedCertificates, timeoutMs, signal } = request;
  const url = parseAnchorUrl(request.url);
  const nonce = typeof request.nonce === 'bigint' ? request.nonce : nonceOf(request.nonce);
  const anchor = `the timestamp authority ${describeUrl(url)}`;
  const answer = await postToAnchor({
    anchor,
    url,
    contentType: 'application/timestamp-query',
    body: encodeTimestampRequest(digest, nonce),
    answerBytesMax: RESPONSE_BYTES_MAX,
    timeoutMs,
    signal,
  });
  if (answer.status !== 200) {
    throw new DaybookError('ANCHOR_REFUSED', `${anchor} refused the request (HTTP ${answer.status})`);
  }
  if (answer.mediaType !== 'application/timestamp-reply') {
    const type = answer.mediaType === '' ? 'no content type' : answer.mediaType.slice(0, 100);
    throw new DaybookError('ANCHOR_REFUSED', `${anchor} did not answer with application/timestamp-reply but ${type}`);
  }
  const verdict = verifyTimestamp({ response: answer.body, digest, nonce, trustedCertificates });
  if (!verdict.valid) {
    const { reason, message } = verdict;
    throw new DaybookError('ANCHOR_REFUSED', `the answer of ${anchor} is refused: ${message}`, { details: { reason } });
  }
  const { time, serial, authority } = verdict;
  return { token: answer.body, time, serial, authority };
}

/** DER of a TimeStampReq for a SHA-256 digest, with a nonce and the request to embed the certificates. */
export function encodeTimestampRequest(digest: Uint8Array, nonce: bigint): Uint8Array {
  if (digest.length !== 32) throw new RangeError(`a SHA-256 digest has 32 bytes, not ${digest.length}`);
  if (nonce < 0n) throw new RangeError('a nonce is not negative');
  const request = new TimeStampReq({
    version: 1,
    messageImprint: new MessageImprint({
      hashAlgorithm: new AlgorithmIdentifier({ algorithmId: sha256Id, algorithmParams: new Null() }),
      hashedMessage: new OctetString({ valueHex: new Uint8Array(digest) }),
    }),
    nonce: Integer.fromBigInt(nonce),
    certReq: true,
  });
  return new Uint8Array(request.toSchema().toBER());
}

function nonceOf(bytes: Uint8Array): bigint {
  return bytes.reduce((nonce, byte) => (nonce << 8n) | BigInt(byte), 0n);
}
