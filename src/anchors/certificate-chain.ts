import { X509Certificate } from 'node:crypto';
import { BasicConstraints, Certificate, ExtKeyUsage, type Extension } from 'pkijs';
import { equalBytes } from '../core/bytes.js';
import { DaybookError } from '../errors.js';

/** From the signer to the anchor. Public timestamp authorities have three or four. */
const CHAIN_LENGTH_MAX = 8;
/** A token that brings more is refused: each costs parsing and, in the search for a chain, signatures. */
const EMBEDDED_CERTIFICATES_MAX = 16;
/** Tries at a link in one search: certificates that vouch for each other in circles must end somewhere. */
const LINK_ATTEMPTS_MAX = 64;
const RSA_MODULUS_BITS_MIN = 2048;

export const timeStampingPurpose = '1.3.6.1.5.5.7.3.8';
const anyPurpose = '2.5.29.37.0';
const basicConstraintsId = '2.5.29.19';
const extendedKeyUsageId = '2.5.29.37';
/** Extensions that this code or OpenSSL evaluates; with any other critical one a certificate must not be used. */
const understoodExtensions = new Set([
  basicConstraintsId,
  extendedKeyUsageId,
  '2.5.29.14', // subject key identifier
  '2.5.29.15', // key usage
  '2.5.29.17', // subject alternative name
  '2.5.29.32', // policies: any policy will do here
  '2.5.29.35', // authority key identifier
]);

/** RSA PKCS #1 v1.5 and ECDSA: the kind of key and the hash, by the identifier of the signature algorithm. */
export const signatureAlgorithms: Readonly<Record<string, { keyType: 'rsa' | 'ec'; hash: string }>> = {
  '1.2.840.113549.1.1.11': { keyType: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { keyType: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { keyType: 'rsa', hash: 'sha512' },
  '1.2.840.10045.4.3.2': { keyType: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { keyType: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { keyType: 'ec', hash: 'sha512' },
};

/** The same certificate three times: as it was sent, as ASN.1 and as OpenSSL reads it. */
export interface ParsedCertificate {
  readonly der: Uint8Array;
  readonly fields: Certificate;
  readonly x509: X509Certificate;
}

/** Throws for bytes that are not one X.509 certificate, or that carry an extension twice (RFC 5280 §4.2). */
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  const fields = Certificate.fromBER(new Uint8Array(der));
  const identifiers = (fields.extensions ?? []).map(({ extnID }) => extnID);
  if (new Set(identifiers).size !== identifiers.length) throw new SyntaxError('a certificate has an extension twice');
  return { der, fields, x509: new X509Certificate(der) };
}

/** The certificates in PEM texts, one or more in each. Throws CONFIG_INVALID for a text without any, or with a bad one. */
export function parsePemCertificates(texts: readonly string[]): ParsedCertificate[] {
  return texts.flatMap((text) => {
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
    if (blocks === null) throw new DaybookError('CONFIG_INVALID', 'no PEM certificate in what is to be trusted');
    try {
      return blocks.map((block) => parseCertificate(new Uint8Array(new X509Certificate(block).raw)));
    } catch (error) {
      throw new DaybookError('CONFIG_INVALID', 'a PEM certificate that is to be trusted cannot be read', {
        cause: error,
      });
    }
  });
}

export function findExtension(certificate: ParsedCertificate, identifier: string): Extension | undefined {
  return certificate.fields.extensions?.find(({ extnID }) => extnID === identifier);
}

/** The purposes of the extended key usage; null when the certificate does not limit them. */
export function readKeyPurposes(certificate: ParsedCertificate): { critical: boolean; purposes: string[] } | null {
  const extension = findExtension(certificate, extendedKeyUsageId);
  if (extension === undefined) return null;
  const value: unknown = extension.parsedValue;
  return { critical: extension.critical, purposes: value instanceof ExtKeyUsage ? value.keyPurposes : [] };
}

/** True for RSA of 2,048 bits or more, and for ECDSA on P-256 or P-384. */
export function hasAcceptedKey({ x509: { publicKey } }: ParsedCertificate): boolean {
  const { modulusLength = 0, namedCurve = '' } = publicKey.asymmetricKeyDetails ?? {};
  if (publicKey.asymmetricKeyType === 'rsa') return modulusLength >= RSA_MODULUS_BITS_MIN;
  return publicKey.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1'].includes(namedCurve);
}

/** Why no chain was found; of several reasons the one that came closest to a chain. */
export type ChainBreak = 'UNTRUSTED' | 'CERTIFICATE_EXPIRED' | 'UNSUPPORTED_ALGORITHM';

interface Search {
  readonly embedded: readonly ParsedCertificate[];
  readonly trusted: readonly ParsedCertificate[];
  readonly atMicros: bigint;
  attemptsLeft: number;
  closest: ChainBreak;
}

/**
 * Looks for a chain from `signer` over `embedded` certificates to one of `trusted`, every certificate in it valid at
 * `atMicros` (microseconds since the Unix epoch). A trusted certificate ends the chain, be it a root, an intermediate or
 * the signer's own. Returns null when there is one, or what is wrong. Throws for certificates that cannot be evaluated.
 *
 * Each issuer must be a CA (basic constraints, path length, key usage), may sign certificates for timestamping, and its
 * key verifies the signature: RFC 5280 §6.1 without revocation, which a token cannot prove, and without name and policy
 * constraints, which are refused where critical. The search is our own because the library's has neither the path length
 * nor an end when certificates vouch for each other.
 */
export function verifyCertificateChain(input: {
  signer: ParsedCertificate;
  embedded: readonly ParsedCertificate[];
  trusted: readonly ParsedCertificate[];
  atMicros: bigint;
}): ChainBreak | null {
  const { signer, embedded, trusted, atMicros } = input;
  if (embedded.length > EMBEDDED_CERTIFICATES_MAX) return 'UNTRUSTED';
  const search: Search = { embedded, trusted, atMicros, attemptsLeft: LINK_ATTEMPTS_MAX, closest: 'UNTRUSTED' };
  return extendChain([signer], search) ? null : search.closest;
}

/** True when `chain`, which starts at the signer, can be led on to a trusted certificate. */
function extendChain(chain: readonly ParsedCertificate[], search: Search): boolean {
  const last = chain.at(-1)!;
  if (!isUsable(last, search)) return false;
  if (search.trusted.some(({ der }) => equalBytes(der, last.der))) return true;
  if (chain.length === CHAIN_LENGTH_MAX) return false;
  if (signatureAlgorithms[last.fields.signatureAlgorithm.algorithmId] === undefined) {
    search.closest = 'UNSUPPORTED_ALGORITHM';
    return false;
  }
  // Trusted ones first: the shortest chain is the usual one.
  for (const issuer of [...search.trusted, ...search.embedded]) {
    if (chain.some(({ der }) => equalBytes(der, issuer.der)) || !mayIssue(issuer, chain)) continue;
    if (search.attemptsLeft === 0) return false;
    search.attemptsLeft -= 1;
    // Names, key identifiers, and the right to sign certificates where the key usage is limited; then the signature.
    if (!last.x509.checkIssued(issuer.x509) || !last.x509.verify(issuer.x509.publicKey)) continue;
    if (extendChain([...chain, issuer], search)) return true;
  }
  return false;
}

/** What holds for every certificate of a chain. */
function isUsable(certificate: ParsedCertificate, search: Search): boolean {
  const { notBefore, notAfter, extensions = [] } = certificate.fields;
  const fromMicros = BigInt(notBefore.value.getTime()) * 1000n;
  const untilMicros = BigInt(notAfter.value.getTime()) * 1000n;
  if (search.atMicros < fromMicros || search.atMicros > untilMicros) {
    search.closest = 'CERTIFICATE_EXPIRED';
    return false;
  }
  if (!hasAcceptedKey(certificate)) {
    search.closest = 'UNSUPPORTED_ALGORITHM';
    return false;
  }
  return extensions.every(({ critical, extnID }) => !critical || understoodExtensions.has(extnID));
}

/** True when `issuer` is a CA that may stand above `chain`; the signature is another matter. */
function mayIssue(issuer: ParsedCertificate, chain: readonly ParsedCertificate[]): boolean {
  const constraints: unknown = findExtension(issuer, basicConstraintsId)?.parsedValue;
  if (!(constraints instanceof BasicConstraints) || !constraints.cA) return false;
  const { pathLenConstraint: limit } = constraints;
  // Self-issued intermediates do not count (RFC 5280 §4.2.1.9), nor does the signer at the chain's start.
  const between = chain.slice(1).filter(({ fields }) => !fields.subject.isEqual(fields.issuer)).length;
  if (limit !== undefined && BigInt(between) > (typeof limit === 'number' ? BigInt(limit) : limit.toBigInt()))
    return false;
  const usage = readKeyPurposes(issuer);
  return usage === null || usage.purposes.some((purpose) => [timeStampingPurpose, anyPurpose].includes(purpose));
}
