import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const keyOptions = {
  rsa: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-1024': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
  p256: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
};

/** How the issuer differs from one that does everything right. Times are YYYYMMDDHHMMSSZ. */
export interface IssuerOptions {
  readonly key?: keyof typeof keyOptions;
  /** `none` has no extended key usage; `with-code-signing` a second purpose; `unknown-extension` a critical one. */
  readonly purpose?: 'critical' | 'not-critical' | 'with-code-signing' | 'none' | 'unknown-extension';
  /**
   * What stands between root and signer. `limited` may not have a further CA below it, but has; `no-ca` is not a CA at all,
   * `no-signing` may not sign certificates, and `other-purpose` only those for signing code.
   */
  readonly chain?: 'root' | 'intermediate' | 'limited' | 'no-ca' | 'no-signing' | 'other-purpose';
  readonly rootFrom?: string;
  readonly signerFrom?: string;
  readonly signerUntil?: string;
  readonly essHash?: 'sha1' | 'sha256';
  /** Of the signature under the signer's certificate. */
  readonly certificateHash?: 'sha1' | 'sha256' | 'sha512';
}

/** A timestamp authority of OpenSSL in a folder of its own, removed at disposal. */
export interface TimestampIssuer extends AsyncDisposable {
  /** The root certificate, for `openssl -CAfile` and for pinning. */
  readonly rootFile: string;
  readonly root: string;
  readonly signer: string;
  /** DER of the signer's certificate. */
  readonly signerDer: Uint8Array;
  /** DER of another certificate of the root for the signer: same name, number and key, another validity. */
  renewSigner(): Promise<Uint8Array>;
  /** `openssl ts -reply`: a real token with the time of now. */
  reply(query: Uint8Array): Promise<Uint8Array>;
  /** The same of an authority that does not take SHA-256. */
  reject(query: Uint8Array): Promise<Uint8Array>;
  /**
   * A granted response around any content, signed by `openssl cms`: OpenSSL's own authority refuses to work with
   * unsuitable certificates and to lie about the time.
   */
  sign(content: Uint8Array, contentType?: string): Promise<Uint8Array>;
  /** Whether `openssl ts -verify` accepts a response, at a time in seconds since the Unix epoch or now. */
  accepts(query: Uint8Array, response: Uint8Array, atSeconds?: number): Promise<boolean>;
}

const timestampInfoType = '1.2.840.113549.1.9.16.1.4';

function configuration(folder: string, essHash: string, embedsChain: boolean): string {
  const authority = (digests: string) => `
serial = ${folder}/token-serial
signer_cert = ${folder}/signer.pem
signer_key = ${folder}/signer.key
${embedsChain ? `certs = ${folder}/chain.pem` : ''}
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = ${digests}
accuracy = secs:1
clock_precision_digits = 6
ess_cert_id_chain = no
ess_cert_id_alg = ${essHash}
`;
  return `
[ca]
default_ca = store
[store]
database = ${folder}/index.txt
new_certs_dir = ${folder}
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 3650
policy = any
[any]
organizationName = optional
commonName = supplied
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign
[no-ca]
basicConstraints = critical, CA:false
[no-signing]
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature
[other-purpose]
basicConstraints = critical, CA:true
extendedKeyUsage = codeSigning
[critical]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
# Without it only names and the signature tell the issuer from a namesake.
authorityKeyIdentifier = none
[unknown-extension]
extendedKeyUsage = critical, timeStamping
1.2.3.4 = critical, ASN1:NULL
[not-critical]
extendedKeyUsage = timeStamping
[with-code-signing]
extendedKeyUsage = critical, timeStamping, codeSigning
[none]
keyUsage = critical, digitalSignature
[accepting]${authority('sha256, sha512')}
[rejecting]${authority('sha512')}
`;
}

/** Makes keys, CA and signer. Every certificate is valid for ten years unless the options say otherwise. */
export async function createTimestampIssuer(options: IssuerOptions = {}): Promise<TimestampIssuer> {
  const { key = 'p256', purpose = 'critical', chain = 'root', essHash = 'sha256' } = options;
  const folder = await mkdtemp(join(tmpdir(), 'daybook-authority-'));
  const path = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  // All but the root and the signer: those go into the tokens beside the signer's.
  const between = chain === 'root' ? [] : chain === 'limited' ? ['upper', 'middle'] : ['middle'];
  await writeFile(path('openssl.cnf'), configuration(folder, essHash, between.length > 0));
  await writeFile(path('index.txt'), '');
  await writeFile(path('token-serial'), '0A00\n');

  const certify = async (name: string, extensions: string, issuer: string | null, dates: readonly string[] = []) => {
    await openssl('genpkey', ...keyOptions[name === 'signer' ? key : 'p256'], '-out', path(`${name}.key`));
    const subject = `/O=Daybook tests/CN=${name} of ${chain} ${purpose}`;
    await openssl('req', '-new', '-key', path(`${name}.key`), '-subj', subject, '-out', path(`${name}.csr`));
    const by = issuer === null ? ['-selfsign', '-keyfile', path(`${name}.key`)] : issuerOptions(issuer);
    const common = ['ca', '-config', path('openssl.cnf'), '-batch', '-notext', '-extensions', extensions, ...dates];
    await openssl(...common, '-in', path(`${name}.csr`), '-out', path(`${name}.pem`), ...by);
  };
  const issuerOptions = (issuer: string) => ['-cert', path(`${issuer}.pem`), '-keyfile', path(`${issuer}.key`)];

  await certify('root', 'root', null, options.rootFrom ? ['-startdate', options.rootFrom] : []);
  let issuer = 'root';
  for (const name of between) {
    await certify(name, chain === 'limited' ? 'intermediate' : chain, issuer);
    issuer = name;
  }
  const { signerFrom, signerUntil } = options;
  const dates = [...(signerFrom ? ['-startdate', signerFrom] : []), ...(signerUntil ? ['-enddate', signerUntil] : [])];
  await certify('signer', purpose, issuer, [...dates, '-md', options.certificateHash ?? 'sha256']);
  const embedded = await Promise.all(between.map((name) => readFile(path(`${name}.pem`), 'utf8')));
  await writeFile(path('chain.pem'), embedded.join(''));

  let files = 0;
  const fresh = (name: string) => path(`${(files += 1)}.${name}`);
  const answer = async (section: string, query: Uint8Array) => {
    const [queryFile, responseFile] = [fresh('tsq'), fresh('tsr')];
    await writeFile(queryFile, query);
    const common = ['ts', '-reply', '-config', path('openssl.cnf'), '-section', section];
    await openssl(...common, '-queryfile', queryFile, '-out', responseFile);
    return new Uint8Array(await readFile(responseFile));
  };
  const root = await readFile(path('root.pem'), 'utf8');
  const signer = await readFile(path('signer.pem'), 'utf8');
  const signerDer = new Uint8Array(new X509Certificate(signer).raw);
  return {
    rootFile: path('root.pem'),
    root,
    signer,
    signerDer,
    renewSigner: async () => {
      const serial = `0x${new X509Certificate(signer).serialNumber}`;
      const common = ['x509', '-req', '-in', path('signer.csr'), '-CA', path('root.pem'), '-CAkey', path('root.key')];
      const file = fresh('renewed');
      const extensions = ['-extfile', path('openssl.cnf'), '-extensions', purpose];
      await openssl(...common, '-set_serial', serial, '-days', '4000', ...extensions, '-outform', 'DER', '-out', file);
      return new Uint8Array(await readFile(file));
    },
    reply: (query) => answer('accepting', query),
    reject: (query) => answer('rejecting', query),
    sign: async (content, contentType = timestampInfoType) => {
      const [contentFile, tokenFile] = [fresh('content'), fresh('token')];
      await writeFile(contentFile, content);
      const common = ['cms', '-sign', '-binary', '-nodetach', '-cades', '-nosmimecap', '-md', 'sha256'];
      const by = [
        '-signer',
        path('signer.pem'),
        '-inkey',
        path('signer.key'),
        ...(between.length > 0 ? ['-certfile', path('chain.pem')] : []),
      ];
      const files = ['-in', contentFile, '-outform', 'DER', '-out', tokenFile];
      await openssl(...common, '-econtent_type', contentType, ...by, ...files);
      return encodeDer(0x30, encodeDer(0x30, Uint8Array.of(2, 1, 0)), new Uint8Array(await readFile(tokenFile)));
    },
    accepts: async (query, response, atSeconds) => {
      const [queryFile, responseFile] = [fresh('tsq'), fresh('tsr')];
      await writeFile(queryFile, query);
      await writeFile(responseFile, response);
      const at = atSeconds === undefined ? [] : ['-attime', String(atSeconds)];
      const common = ['ts', '-verify', '-queryfile', queryFile, '-in', responseFile, '-CAfile', path('root.pem')];
      return openssl(...common, ...at).then(
        ({ stdout, stderr }) => `${stdout}${stderr}`.includes('Verification: OK'),
        () => false,
      );
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, maxRetries: 5 }),
  };
}

/** One DER value: tag, length, and the parts one after another. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag, ...head), content]));
}

/** What a token says: TSTInfo of RFC 3161 §2.4.2, right unless told otherwise. */
export function encodeTimestampInfo(info: {
  digest: Uint8Array;
  genTime: string;
  nonce?: bigint;
  version?: number;
  /** Last byte of the hash algorithm's identifier in NIST's arc: 1 is SHA-256, 2 SHA-384. */
  hashArc?: number;
  /** Serial number, one byte. */
  serial?: number;
  criticalExtension?: boolean;
}): Uint8Array {
  const { digest, genTime, nonce, version = 1, hashArc = 1, serial = 7, criticalExtension = false } = info;
  const hashAlgorithm = encodeDer(0x30, encodeDer(6, Uint8Array.of(0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hashArc)));
  const extension = encodeDer(
    0x30,
    encodeDer(6, Uint8Array.of(0x2a, 3, 4)),
    encodeDer(1, Uint8Array.of(0xff)),
    encodeDer(4, Uint8Array.of(5, 0)),
  );
  return encodeDer(
    0x30,
    encodeDer(2, Uint8Array.of(version)),
    encodeDer(6, Uint8Array.of(0x2a, 3, 4, 1)),
    encodeDer(0x30, hashAlgorithm, encodeDer(4, digest)),
    encodeDer(2, Uint8Array.of(serial)),
    encodeDer(0x18, Buffer.from(genTime, 'ascii')),
    ...(nonce === undefined ? [] : [encodeDer(2, encodeUnsigned(nonce))]),
    ...(criticalExtension ? [encodeDer(0xa1, extension)] : []),
  );
}

function encodeUnsigned(value: bigint): Uint8Array {
  const digits = value.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), bytes]) : bytes;
}
