import { fromBER, GeneralizedTime, Sequence } from 'asn1js';
import { SignedData, TimeStampResp, TSTInfo } from 'pkijs';
import { equalBytes } from '../core/bytes.js';
import { parseTimestamp } from '../core/timestamp.js';
import { parseCertificate, type ParsedCertificate } from './certificate-chain.js';
import { isDerFramed } from './der.js';

/** What can be wrong with an answer of a timestamp authority: a closed list. */
const timestampBreaks = {
  MALFORMED: 'not a timestamp response of RFC 3161',
  NOT_GRANTED: 'the authority did not grant the timestamp',
  WRONG_DIGEST: 'the token is over another digest',
  WRONG_NONCE: 'the token answers another request',
  WRONG_SIGNER: 'the token does not bind the certificate it names as its signer',
  BAD_SIGNATURE: 'the signature, or what it covers, was changed',
  WRONG_KEY_USAGE: "the signer's certificate is not for timestamping alone",
  CERTIFICATE_EXPIRED: 'a certificate was not valid when the token was made',
  UNTRUSTED: 'no chain of certificates leads to a trusted one',
  UNSUPPORTED_ALGORITHM: 'a hash, signature algorithm or key is too weak or not supported',
} as const;

export type TimestampBreak = keyof typeof timestampBreaks;

/** Ends the reading or checking of a response. */
export class TimestampRefusal extends Error {
  constructor(
    readonly reason: TimestampBreak,
    detail?: string,
  ) {
    super(detail === undefined ? timestampBreaks[reason] : `${timestampBreaks[reason]}: ${detail}`);
  }
}

const signedDataType = '1.2.840.113549.1.7.2';
/** id-ct-TSTInfo */
export const timestampInfoType = '1.2.840.113549.1.9.16.1.4';

/** PKIStatus of RFC 3161 §2.4.2; only the first two bring a token. */
const statusNames = [
  'granted',
  'granted with modifications',
  'rejection',
  'waiting',
  'revocation warning',
  'revocation notification',
];
const grantedStatuses = [0, 1];

/** The parts of a granted response, read but not believed. */
export interface TimestampToken {
  /** DER of TSTInfo: the bytes that were signed. */
  readonly content: Uint8Array;
  readonly info: TSTInfo;
  /** genTime in microseconds since the Unix epoch. */
  readonly timeMicros: bigint;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly signedData: SignedData;
  readonly certificates: readonly ParsedCertificate[];
}

/** Reads the DER of a TimeStampResp. Throws TimestampRefusal, or whatever the ASN.1 library throws for malformed bytes. */
export function parseTimestampResponse(response: Uint8Array): TimestampToken {
  const { status, timeStampToken } = new TimeStampResp({ schema: parseDer(response) });
  if (!grantedStatuses.includes(status.status)) {
    const words = (status.statusStrings ?? []).map((text) => text.getValue()).join('; ');
    throw new TimestampRefusal('NOT_GRANTED', [statusNames[status.status], words].filter(Boolean).join(', '));
  }
  if (timeStampToken === undefined) throw new TimestampRefusal('MALFORMED', 'it was granted but holds no token');
  if (timeStampToken.contentType !== signedDataType)
    throw new TimestampRefusal('MALFORMED', 'the token is not signed data');
  const schema = timeStampToken.content as Sequence;
  const certificates = rawCertificates(schema).map(parseCertificate);
  const signedData = new SignedData({ schema });
  const { eContentType, eContent } = signedData.encapContentInfo;
  if (eContentType !== timestampInfoType || eContent === undefined) {
    throw new TimestampRefusal('MALFORMED', 'the signed content is not a TSTInfo');
  }
  const content = new Uint8Array(eContent.getValue());
  const fields = parseDer(content);
  const info = new TSTInfo({ schema: fields });
  if (info.version !== 1) throw new TimestampRefusal('MALFORMED', `version ${info.version} of TSTInfo`);
  if (info.extensions?.some(({ critical }) => critical)) {
    throw new TimestampRefusal('MALFORMED', 'a critical extension of TSTInfo is not known');
  }
  const serial = info.serialNumber.toBigInt();
  if (serial < 0n) throw new TimestampRefusal('MALFORMED', 'a negative serial number');
  return { content, info, timeMicros: readGenTime(fields), serial: serial.toString(16), signedData, certificates };
}

/** One SEQUENCE in DER and nothing after it. */
function parseDer(bytes: Uint8Array): Sequence {
  if (!isDerFramed(bytes)) throw new TimestampRefusal('MALFORMED', 'not one value in DER');
  const { offset, result } = fromBER(new Uint8Array(bytes));
  if (offset !== bytes.length || !(result instanceof Sequence)) throw new TimestampRefusal('MALFORMED', result.error);
  return result;
}

/** The certificates of a SignedData as they were sent: their hashes are over these bytes. */
function rawCertificates(signedData: Sequence): Uint8Array[] {
  const set = signedData.valueBlock.value.find(({ idBlock }) => idBlock.tagClass === 3 && idBlock.tagNumber === 0);
  const members = (set as Sequence | undefined)?.valueBlock.value ?? [];
  return members.filter((member) => member instanceof Sequence).map((member) => member.valueBeforeDecodeView);
}

/** genTime is read from its text, because a Date has no microseconds. Digits past the sixth are cut off. */
function readGenTime(info: Sequence): bigint {
  const field = info.valueBlock.value[4];
  const text = field instanceof GeneralizedTime ? new TextDecoder().decode(field.valueBlock.valueHexView) : '';
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,20}))?Z$/.exec(text);
  const [, year, month, day, hour, minute, second, fraction = ''] = match ?? [];
  const micros = parseTimestamp(
    `${year}-${month}-${day}T${hour}:${minute}:${second}.${fraction.slice(0, 6).padEnd(6, '0')}Z`,
  );
  if (micros === null) throw new TimestampRefusal('MALFORMED', 'genTime is not a time in UTC');
  return micros;
}

/** True when the token is over this SHA-256 digest. */
export function isOverDigest({ info: { messageImprint } }: TimestampToken, digest: Uint8Array): boolean {
  const { hashAlgorithm, hashedMessage } = messageImprint;
  return (
    hashAlgorithm.algorithmId === '2.16.840.1.101.3.4.2.1' &&
    equalBytes(new Uint8Array(hashedMessage.getValue()), digest)
  );
}
