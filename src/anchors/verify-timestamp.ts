import { hash, verify } from 'node:crypto';
import { type AsnType, Constructed, Integer, Null, ObjectIdentifier, OctetString, Sequence } from 'asn1js';
import { type AlgorithmIdentifier, IssuerAndSerialNumber, RelativeDistinguishedNames, type SignerInfo } from 'pkijs';
import { equalBytes } from '../core/bytes.js';
import { formatTimestamp } from '../core/timestamp.js';
import {
  findExtension,
  hasAcceptedKey,
  type ParsedCertificate,
  parsePemCertificates,
  readKeyPurposes,
  signatureAlgorithms,
  timeStampingPurpose,
  verifyCertificateChain,
} from './certificate-chain.js';
import {
  isOverDigest,
  parseTimestampResponse,
  type TimestampBreak,
  timestampInfoType,
  TimestampRefusal,
  type TimestampToken,
} from './timestamp-token.js';

const hashNames: Readonly<Record<string, string>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
/** rsaEncryption: the signature's hash is then the one of the digest algorithm (RFC 3370 §3.2). */
const rsaEncryption = '1.2.840.113549.1.1.1';

const contentTypeAttribute = '1.2.840.113549.1.9.3';
const messageDigestAttribute = '1.2.840.113549.1.9.4';
const signingCertificateAttribute = '1.2.840.113549.1.9.16.2.12';
const signingCertificateV2Attribute = '1.2.840.113549.1.9.16.2.47';
const keyUsageExtension = '2.5.29.15';
const subjectKeyIdentifierExtension = '2.5.29.14';

export interface Timestamp {
  /** genTime, RFC 3339 UTC with six fractional digits. */
  readonly time: string;
  /** The token's serial number at its authority, lower-case hex without leading zeros. */
  readonly serial: string;
  /** Subject of the signer's certificate, as in "C=DE, O=Example, CN=Example TSA". */
  readonly authority: string;
}

export type TimestampVerdict =
  | ({ readonly valid: true } & Timestamp)
  | { readonly valid: false; readonly reason: TimestampBreak; readonly message: string };

/**
 * Checks the stored answer of a timestamp authority (DER of a TimeStampResp) against the SHA-256 `digest` it was asked
 * for, the `nonce` of the request (null where the request is not known any more) and the pinned certificates: RFC 3161
 * §2.4.2 and RFC 5816, the CMS signature over the signed attributes (RFC 5652 §5.6), and the chain, which counts at
 * genTime, so that a token outlives its certificates. Revocation is not checked: the token cannot prove its absence.
 *
 * Never throws for hostile bytes. Throws CONFIG_INVALID when a trusted certificate is not PEM.
 */
export function verifyTimestamp(input: {
  response: Uint8Array;
  digest: Uint8Array;
  nonce: bigint | null;
  trustedCertificates: readonly string[];
}): TimestampVerdict {
  const trusted = parsePemCertificates(input.trustedCertificates);
  try {
    return { valid: true, ...checkResponse(input, trusted) };
  } catch (error) {
    if (error instanceof TimestampRefusal) return { valid: false, reason: error.reason, message: error.message };
    // The ASN.1 library throws many kinds of errors for bytes it cannot read.
    const { message } = new TimestampRefusal('MALFORMED', String((error as Partial<Error> | null)?.message ?? error));
    return { valid: false, reason: 'MALFORMED', message };
  }
}

function checkResponse(
  input: { response: Uint8Array; digest: Uint8Array; nonce: bigint | null },
  trusted: readonly ParsedCertificate[],
): Timestamp {
  const token = parseTimestampResponse(input.response);
  if (!isOverDigest(token, input.digest)) throw new TimestampRefusal('WRONG_DIGEST');
  if (input.nonce !== null && token.info.nonce?.toBigInt() !== input.nonce) throw new TimestampRefusal('WRONG_NONCE');
  const [signerInfo, ...others] = token.signedData.signerInfos;
  // RFC 3161 §2.4.2: no signature but the authority's.
  if (signerInfo === undefined || others.length > 0)
    throw new TimestampRefusal('MALFORMED', 'not exactly one signature');
  const signer = checkSignature(token, signerInfo);
  checkKeyUsage(signer);
  const { certificates: embedded, timeMicros: atMicros } = token;
  const chainBreak = verifyCertificateChain({ signer, embedded, trusted, atMicros });
  if (chainBreak !== null) throw new TimestampRefusal(chainBreak);
  const authority = signer.x509.subject.replaceAll('\n', ', ');
  return { time: formatTimestamp(token.timeMicros), serial: token.serial, authority };
}

/** Returns the embedded certificate whose key made the signature. */
function checkSignature(token: TimestampToken, signerInfo: SignerInfo): ParsedCertificate {
  const { signatureAlgorithm, digestAlgorithm, signedAttrs } = signerInfo;
  const digestName = hashNameOf(digestAlgorithm);
  const algorithm =
    signatureAlgorithm.algorithmId === rsaEncryption
      ? { keyType: 'rsa', hash: digestName }
      : signatureAlgorithms[signatureAlgorithm.algorithmId];
  if (algorithm === undefined) throw new TimestampRefusal('UNSUPPORTED_ALGORITHM', signatureAlgorithm.algorithmId);
  // RFC 5652 §5.1: the list of all digest algorithms, for readers in one pass, holds the only signer's.
  if (!token.signedData.digestAlgorithms.some((listed) => hashNameOf(listed) === digestName)) {
    throw new TimestampRefusal('MALFORMED', "the signer's digest algorithm is not listed");
  }
  const signer = token.certificates.find((certificate) => isNamedBy(certificate, signerInfo));
  if (signer === undefined) throw new TimestampRefusal('WRONG_SIGNER', 'its certificate is not in the token');
  if (!hasAcceptedKey(signer)) throw new TimestampRefusal('UNSUPPORTED_ALGORITHM', "the signer's key");
  if (signedAttrs === undefined) throw new TimestampRefusal('BAD_SIGNATURE', 'no signed attributes');
  checkContentAttributes(signerInfo, token.content, digestName);
  const { publicKey } = signer.x509;
  const isRightKind = publicKey.asymmetricKeyType === algorithm.keyType;
  // The library keeps the attributes as they were signed: as a SET, not under their tag in the structure.
  const attributes = new Uint8Array(signedAttrs.encodedValue);
  if (!isRightKind || !verify(algorithm.hash, attributes, publicKey, octets(signerInfo.signature))) {
    throw new TimestampRefusal('BAD_SIGNATURE');
  }
  checkSigningCertificate(signerInfo, signer);
  return signer;
}

/** SHA-256, SHA-384 or SHA-512, whose parameters are NULL or absent (RFC 5754 §2). */
function hashNameOf({ algorithmId, algorithmParams }: AlgorithmIdentifier): string {
  const name = hashNames[algorithmId];
  if (name === undefined || (algorithmParams !== undefined && !(algorithmParams instanceof Null))) {
    throw new TimestampRefusal('UNSUPPORTED_ALGORITHM', algorithmId);
  }
  return name;
}

function isNamedBy({ fields }: ParsedCertificate, { sid }: SignerInfo): boolean {
  if (sid instanceof IssuerAndSerialNumber) {
    return fields.issuer.isEqual(sid.issuer) && fields.serialNumber.isEqual(sid.serialNumber);
  }
  const extension = fields.extensions?.find(({ extnID }) => extnID === subjectKeyIdentifierExtension);
  const identifier: unknown = extension?.parsedValue;
  const named = (sid as { valueBlock?: { valueHexView?: Uint8Array } }).valueBlock?.valueHexView;
  return identifier instanceof OctetString && named !== undefined && equalBytes(octets(identifier), named);
}

/** The value of an attribute that may stand once and have one value; null when it is absent. */
function readAttribute({ signedAttrs }: SignerInfo, type: string): AsnType | null {
  const found = (signedAttrs?.attributes ?? []).filter((attribute) => attribute.type === type);
  const values = found.flatMap((attribute) => attribute.values as AsnType[]);
  if (found.length > 1 || values.length > 1) throw new TimestampRefusal('BAD_SIGNATURE', `attribute ${type} twice`);
  return values[0] ?? null;
}

/** RFC 5652 §11.1 and §11.2: what the signed attributes say of the content is what there is. */
function checkContentAttributes(signerInfo: SignerInfo, content: Uint8Array, hashName: string): void {
  const contentType = readAttribute(signerInfo, contentTypeAttribute);
  if (!(contentType instanceof ObjectIdentifier) || contentType.getValue() !== timestampInfoType) {
    throw new TimestampRefusal('BAD_SIGNATURE', 'the content-type attribute');
  }
  const messageDigest = readAttribute(signerInfo, messageDigestAttribute);
  if (!(messageDigest instanceof OctetString) || !equalBytes(octets(messageDigest), digestOf(hashName, content))) {
    throw new TimestampRefusal('BAD_SIGNATURE', 'the message-digest attribute');
  }
}

/**
 * RFC 2634 §5.4 and RFC 5035 §3: the signature binds the certificate it was made with, so that none with the same key
 * and other rights can take its place. At least one of the two attributes must be there; what is there must be right.
 */
function checkSigningCertificate(signerInfo: SignerInfo, signer: ParsedCertificate): void {
  const first = readAttribute(signerInfo, signingCertificateAttribute);
  const second = readAttribute(signerInfo, signingCertificateV2Attribute);
  if (first === null && second === null) throw new TimestampRefusal('WRONG_SIGNER', 'no signing-certificate attribute');
  if (first !== null && !identifiesCertificate(first, signer, 'sha1')) {
    throw new TimestampRefusal('WRONG_SIGNER', 'the signing-certificate attribute');
  }
  if (second !== null && !identifiesCertificate(second, signer, 'sha256')) {
    throw new TimestampRefusal('WRONG_SIGNER', 'the signing-certificate-v2 attribute');
  }
}

/** SigningCertificate[V2] ::= SEQUENCE { certs SEQUENCE OF ESSCertID[v2], … }; the first is the signer's. */
function identifiesCertificate(attribute: AsnType, signer: ParsedCertificate, defaultHash: string): boolean {
  const [identifier] = membersOf(membersOf(attribute)[0]);
  const members = membersOf(identifier);
  const hashAt = members.findIndex((member) => member instanceof OctetString);
  const certificateHash = members[hashAt];
  if (!(certificateHash instanceof OctetString)) return false;
  let hashName: string | undefined = defaultHash;
  if (hashAt === 1 && defaultHash !== 'sha1') {
    const [algorithm] = membersOf(members[0]);
    hashName = algorithm instanceof ObjectIdentifier ? hashNames[algorithm.getValue()] : undefined;
  } else if (hashAt !== 0) return false;
  if (hashName === undefined || !equalBytes(octets(certificateHash), digestOf(hashName, signer.der))) return false;
  const issuerSerial = members[hashAt + 1];
  return issuerSerial === undefined || isIssuerSerialOf(issuerSerial, signer);
}

/** IssuerSerial ::= SEQUENCE { issuer GeneralNames, serialNumber INTEGER }, the issuer one directory name, [4]. */
function isIssuerSerialOf(issuerSerial: AsnType, { fields }: ParsedCertificate): boolean {
  const [names, serialNumber] = membersOf(issuerSerial);
  const [name, ...others] = membersOf(names);
  if (name === undefined || others.length > 0 || name.idBlock.tagClass !== 3 || name.idBlock.tagNumber !== 4)
    return false;
  const issuer = new RelativeDistinguishedNames({ schema: membersOf(name)[0] });
  return serialNumber instanceof Integer && fields.serialNumber.isEqual(serialNumber) && fields.issuer.isEqual(issuer);
}

/** RFC 3161 §2.3: the key signs timestamps and nothing else, and its certificate says so with force. */
function checkKeyUsage(signer: ParsedCertificate): void {
  const purposes = readKeyPurposes(signer);
  if (purposes?.critical !== true || purposes.purposes.join() !== timeStampingPurpose) {
    throw new TimestampRefusal('WRONG_KEY_USAGE');
  }
  const keyUsage = findExtension(signer, keyUsageExtension)?.parsedValue as
    { valueBlock: { valueHexView: Uint8Array } } | undefined;
  // The first two bits are digitalSignature and nonRepudiation; absent, the extension limits nothing.
  if (keyUsage !== undefined && ((keyUsage.valueBlock.valueHexView[0] ?? 0) & 0xc0) === 0) {
    throw new TimestampRefusal('WRONG_KEY_USAGE', 'its key is not for signatures');
  }
}

function membersOf(block: AsnType | undefined): AsnType[] {
  return block instanceof Sequence || block instanceof Constructed ? block.valueBlock.value : [];
}

function octets(block: OctetString): Uint8Array {
  return new Uint8Array(block.getValue());
}

function digestOf(hashName: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash(hashName, bytes, 'buffer'));
}
