import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** A request as it came over the wire. */
export interface SignedRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
}

export interface SigningScope {
  readonly region: string;
  readonly service: string;
  readonly secretOf: (accessKeyId: string) => string | undefined;
  readonly nowMs: number;
}

/** What AWS answers to a request that is not signed as it has to be: the code, and the text behind it. */
export interface SignatureFault {
  readonly code: string;
  readonly message: string;
}

const clockSkewMaxMs = 15 * 60_000;

/**
 * Checks a request's Signature Version 4 from AWS's specification ("Create a signed AWS API request"), without any code that
 * signs. Null where it is good.
 */
export function findSignatureFault(request: SignedRequest, scope: SigningScope): SignatureFault | null {
  const { authorization, 'x-amz-date': date = '' } = request.headers;
  if (authorization === undefined) return fault('MissingAuthenticationToken', 'Missing Authentication Token');
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/([^/,]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      authorization,
    );
  if (parts === null) return fault('IncompleteSignature', 'Authorization header is not as Signature Version 4 has it');
  const [, accessKeyId = '', day = '', region = '', service = '', names = '', signature = ''] = parts;
  const secret = scope.secretOf(accessKeyId);
  if (secret === undefined) {
    return fault('UnrecognizedClient', 'The security token included in the request is invalid.');
  }
  if (region !== scope.region || service !== scope.service) {
    return fault('InvalidSignature', `Credential should be scoped to ${scope.region}/${scope.service}.`);
  }
  const signedHeaders = names.split(';');
  const mustBeSigned = Object.keys(request.headers).filter((name) => name === 'host' || /^x-amz-/.test(name));
  const isComplete = mustBeSigned.every((name) => signedHeaders.includes(name));
  const isSorted = [...signedHeaders].sort().join(';') === names;
  if (!isComplete || !isSorted) return fault('InvalidSignature', 'host and x-amz-* headers must be signed, in order');
  const time = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date);
  if (time === null || !date.startsWith(day))
    return fault('IncompleteSignature', 'Date must be in ISO-8601 basic form');
  const [, year, month, dayOfMonth, hour, minute, second] = time;
  const atMs = Date.parse(`${year}-${month}-${dayOfMonth}T${hour}:${minute}:${second}Z`);
  if (Math.abs(scope.nowMs - atMs) > clockSkewMaxMs) return fault('InvalidSignature', 'Signature expired');

  const canonical = canonicalRequest(request, signedHeaders);
  const text = ['AWS4-HMAC-SHA256', date, `${day}/${region}/${service}/aws4_request`, hashOf(canonical)].join('\n');
  const key = [day, region, service, 'aws4_request'].reduce<Buffer>(
    (derived, part) => hmac(derived, part),
    Buffer.from(`AWS4${secret}`),
  );
  if (timingSafeEqual(hmac(key, text), Buffer.from(signature, 'hex'))) return null;
  return fault(
    'InvalidSignature',
    'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
  );
}

function canonicalRequest({ method, target, headers, body }: SignedRequest, signedHeaders: readonly string[]): string {
  const [path = '/', query = ''] = target.split('?', 2);
  const parameters = query
    .split('&')
    .filter((parameter) => parameter !== '')
    .map((parameter) => (parameter.includes('=') ? parameter : `${parameter}=`))
    .sort();
  const lines = signedHeaders.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`);
  return [method, path, parameters.join('&'), lines.join(''), signedHeaders.join(';'), hashOf(body)].join('\n');
}

function hashOf(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function fault(name: string, message: string): SignatureFault {
  return { code: `${name}Exception`, message };
}
