import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { findSignatureFault } from './signature-v4.js';

const region = 'eu-central-1';
const account = '111122223333';
const tagBytes = 16;
const nonceBytes = 12;

/** What the endpoint was asked, and what it answered. */
export interface KmsCall {
  readonly action: string;
  /** 200, or the code of the error. */
  readonly outcome: string;
  readonly context: Readonly<Record<string, string>> | undefined;
}

interface KmsKey {
  readonly arn: string;
  readonly bytes: Buffer;
  readonly spec: string;
  state: 'Enabled' | 'Disabled' | 'PendingDeletion';
}

/** How the endpoint misbehaves: null is well. `throttle` refuses that many calls, `hang` answers none. */
export type KmsMood = 'deny' | 'hang' | 'fail' | { throttle: number } | null;

/**
 * What of AWS KMS the service uses, in AWS's JSON 1.1 protocol on loopback: DescribeKey, Encrypt and Decrypt with symmetric keys in
 * memory. Whoever signs wrongly, names another key or another encryption context gets the error that AWS gives.
 */
export class KmsEndpoint implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #keys = new Map<string, KmsKey>();
  readonly #aliases = new Map<string, string>();
  readonly calls: KmsCall[] = [];
  mood: KmsMood = null;
  /** By these an IAM policy lets nobody do: such as `Decrypt`. */
  readonly denied = new Set<string>();
  readonly credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: randomBytes(30).toString('base64') };
  readonly region = region;

  static async start(): Promise<KmsEndpoint> {
    const endpoint = new KmsEndpoint();
    endpoint.#server.listen(0, '127.0.0.1');
    await once(endpoint.#server, 'listening');
    return endpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The variables by which a node finds the endpoint, and a key in it. */
  environment(keyId: string): Record<string, string> {
    return { DAYBOOK_KMS_KEY_ID: keyId, DAYBOOK_KMS_REGION: region, DAYBOOK_KMS_ENDPOINT: this.url };
  }

  /** Makes a key and returns its ARN. */
  makeKey({ alias, spec = 'SYMMETRIC_DEFAULT' }: { alias?: string; spec?: string } = {}): string {
    const arn = `arn:aws:kms:${region}:${account}:key/${randomUUID()}`;
    this.#keys.set(arn, { arn, bytes: randomBytes(32), spec, state: 'Enabled' });
    if (alias !== undefined) this.#aliases.set(alias, arn);
    return arn;
  }

  setState(arn: string, state: KmsKey['state']): void {
    this.#keys.get(arn)!.state = state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const action = /^TrentService\.(\w+)$/.exec(String(request.headers['x-amz-target']))?.[1] ?? 'unknown';
    if (this.mood === 'hang') return;
    const input = JSON.parse(body.toString()) as KmsInput;
    const perform = (): [string, number, object] => {
      try {
        this.#admit(request, body, action);
        return ['200', 200, this.#perform(action, input)];
      } catch (error) {
        if (!(error instanceof KmsRefusal)) throw error;
        const { code, status, message } = error;
        return [code, status, { __type: code, ...(message === '' ? {} : { message }) }];
      }
    };
    const [outcome, status, answer] = perform();
    this.calls.push({ action, outcome, context: input.EncryptionContext });
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': randomUUID() });
    response.end(JSON.stringify(answer));
  }

  /** Signature first, then rights, then the rate, as AWS does. */
  #admit(request: IncomingMessage, body: Buffer, action: string): void {
    if (request.headers['content-type'] !== 'application/x-amz-json-1.1') {
      throw new KmsRefusal('SerializationException', 'the content type is not that of JSON 1.1');
    }
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const signed = { method: request.method ?? '', target: request.url ?? '', headers, body };
    const { accessKeyId, secretAccessKey } = this.credentials;
    const secretOf = (id: string) => (id === accessKeyId ? secretAccessKey : undefined);
    const fault = findSignatureFault(signed, { region, service: 'kms', secretOf, nowMs: Date.now() });
    if (fault !== null) throw new KmsRefusal(fault.code, fault.message);
    if (this.mood === 'deny' || this.denied.has(action)) {
      const who = `arn:aws:iam::${account}:user/test`;
      throw new KmsRefusal('AccessDeniedException', `User: ${who} is not authorized to perform: kms:${action}`);
    }
    if (this.mood === 'fail') throw new KmsRefusal('KMSInternalException', 'internal failure', 500);
    if (this.mood !== null && typeof this.mood === 'object' && this.mood.throttle > 0) {
      this.mood.throttle -= 1;
      throw new KmsRefusal('ThrottlingException', 'You have exceeded the rate at which you may call KMS.');
    }
  }

  #perform(action: string, input: KmsInput): object {
    const key = this.#find(input.KeyId);
    if (action === 'DescribeKey') {
      const usage = key.spec === 'SYMMETRIC_DEFAULT' ? 'ENCRYPT_DECRYPT' : 'SIGN_VERIFY';
      const facts = { Arn: key.arn, KeyState: key.state, KeySpec: key.spec, KeyUsage: usage };
      return {
        KeyMetadata: {
          AWSAccountId: account,
          KeyId: key.arn.split('/')[1],
          Enabled: key.state === 'Enabled',
          ...facts,
        },
      };
    }
    if (key.state === 'Disabled') throw new KmsRefusal('DisabledException', `${key.arn} is disabled.`);
    if (key.state === 'PendingDeletion') {
      throw new KmsRefusal('KMSInvalidStateException', `${key.arn} is pending deletion.`);
    }
    if (action === 'Encrypt') {
      const blob = encrypt(key, Buffer.from(input.Plaintext ?? '', 'base64'), input.EncryptionContext ?? {});
      return { CiphertextBlob: blob.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
    }
    if (action === 'Decrypt') {
      const blob = Buffer.from(input.CiphertextBlob ?? '', 'base64');
      const plain = decrypt(key, blob, input.EncryptionContext ?? {}, [...this.#keys.keys()]);
      return { Plaintext: plain.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
    }
    throw new KmsRefusal('UnknownOperationException', '');
  }

  #find(keyId = ''): KmsKey {
    const arn = this.#aliases.get(keyId) ?? keyId;
    const key = this.#keys.get(arn) ?? this.#keys.get(`arn:aws:kms:${region}:${account}:key/${arn}`);
    if (key === undefined) throw new KmsRefusal('NotFoundException', `Key '${keyId}' does not exist`);
    return key;
  }
}

interface KmsInput {
  readonly KeyId?: string;
  readonly Plaintext?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext?: Readonly<Record<string, string>>;
}

class KmsRefusal extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 400,
  ) {
    super(message);
  }
}

/** A blob names its key, so that KMS finds it: length ‖ ARN ‖ nonce ‖ ciphertext ‖ tag. */
function encrypt({ arn, bytes }: KmsKey, plain: Buffer, context: Readonly<Record<string, string>>): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', bytes, nonce).setAAD(bytesOf(context));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return Buffer.concat([Buffer.of(arn.length), Buffer.from(arn), nonce, sealed]);
}

function decrypt(
  key: KmsKey,
  blob: Buffer,
  context: Readonly<Record<string, string>>,
  arns: readonly string[],
): Buffer {
  const arn = blob.subarray(1, 1 + (blob[0] ?? 0)).toString();
  if (!arns.includes(arn)) throw new KmsRefusal('InvalidCiphertextException', '');
  if (arn !== key.arn) {
    throw new KmsRefusal(
      'IncorrectKeyException',
      'The key ID in the request does not identify a CMK that can perform this operation.',
    );
  }
  const rest = blob.subarray(1 + arn.length);
  const decipher = createDecipheriv('aes-256-gcm', key.bytes, rest.subarray(0, nonceBytes)).setAAD(bytesOf(context));
  decipher.setAuthTag(rest.subarray(-tagBytes));
  const plain = decipher.update(rest.subarray(nonceBytes, -tagBytes));
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    throw new KmsRefusal('InvalidCiphertextException', '');
  }
}

function bytesOf(context: Readonly<Record<string, string>>): Buffer {
  return Buffer.from(JSON.stringify(Object.entries(context).sort()));
}
