import { DecryptCommand, DescribeKeyCommand, EncryptCommand, KMSClient } from '@aws-sdk/client-kms';
import type { KmsConfig } from '../config.js';
import { DaybookError } from '../errors.js';
import { isAlteredCiphertext, isOfAnotherKey, mapKmsError } from './kms-errors.js';
import { alteredKey, wrappedByAnother, type RootKey, type WrappedKey } from './root-key.js';

const connectTimeoutMs = 3_000;
/** Of one call with all its tries: shorter than the half minute that a step of a rotation has. */
const answerTimeoutMs = 10_000;
/** Tries of a call that is throttled or breaks off; the SDK's pauses between them grow. */
const attemptsMax = 3;
/** Name in the encryption context under which KMS binds a ciphertext to its place, and CloudTrail shows it. */
const contextName = 'daybook';

export interface KmsOptions extends KmsConfig {
  /** Default: the AWS SDK's chain (AWS_ACCESS_KEY_ID and so on). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Milliseconds for one call. Default: 10 s. */
  readonly answerTimeoutMs?: number;
}

/**
 * A symmetric key of AWS KMS, which it never leaves; needs kms:DescribeKey, Encrypt and Decrypt. Nothing is asked before the first
 * use. Each call is signed, bound to its place by the encryption context, and ends within ten seconds.
 */
export function kmsRootKey(options: KmsOptions): RootKey {
  return new KmsRootKey(options);
}

class KmsRootKey implements RootKey {
  readonly #options: KmsOptions;
  readonly #client: KMSClient;
  #arn: string | null = null;

  constructor(options: KmsOptions) {
    this.#options = options;
    const { region, endpoint, credentials } = options;
    this.#client = new KMSClient({
      region,
      maxAttempts: attemptsMax,
      // Calls are minutes apart: a connection that is kept would be a broken one by then.
      requestHandler: {
        connectionTimeout: connectTimeoutMs,
        httpsAgent: { keepAlive: false },
        httpAgent: { keepAlive: false },
      },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : { credentials }),
    });
  }

  /** The key's ARN: an alias may point to another key tomorrow. */
  async id(): Promise<string> {
    if (this.#arn !== null) return this.#arn;
    const { keyId } = this.#options;
    const { KeyMetadata: key } = await this.#call('describe', () =>
      this.#client.send(new DescribeKeyCommand({ KeyId: keyId }), this.#deadline()),
    );
    if (key?.Arn === undefined || key.KeySpec !== 'SYMMETRIC_DEFAULT' || key.KeyUsage !== 'ENCRYPT_DECRYPT') {
      throw new DaybookError(
        'ROOT_KEY_REFUSED',
        `the AWS KMS key ${keyId} is no symmetric key for encryption: make one of the type SYMMETRIC_DEFAULT`,
      );
    }
    this.#arn = key.Arn;
    return key.Arn;
  }

  async knows(rootKeyId: string): Promise<boolean> {
    // What is no ARN was wrapped by a local key: nothing has to be asked.
    return rootKeyId.startsWith('arn:') && rootKeyId === (await this.id());
  }

  async wrap(key: Uint8Array, context: string): Promise<WrappedKey> {
    const arn = await this.id();
    const request = new EncryptCommand({ KeyId: arn, Plaintext: key, EncryptionContext: { [contextName]: context } });
    const { CiphertextBlob: wrapped } = await this.#call('encrypt', () => this.#client.send(request, this.#deadline()));
    if (wrapped === undefined) throw this.#withoutAnswer('encrypt');
    return { wrapped, rootKeyId: arn };
  }

  async unwrap({ wrapped, rootKeyId }: WrappedKey, context: string): Promise<Uint8Array> {
    if (!(await this.knows(rootKeyId))) throw wrappedByAnother(rootKeyId);
    // The key is named, so that no ciphertext of somebody else's key is opened.
    const request = new DecryptCommand({
      KeyId: rootKeyId,
      CiphertextBlob: wrapped,
      EncryptionContext: { [contextName]: context },
    });
    const answer = await this.#call('decrypt', () =>
      this.#client.send(request, this.#deadline()).catch((error: unknown) => {
        if (isAlteredCiphertext(error)) throw alteredKey(context);
        if (isOfAnotherKey(error)) throw wrappedByAnother('of another AWS KMS key');
        throw error;
      }),
    );
    if (answer.Plaintext === undefined) throw this.#withoutAnswer('decrypt');
    return answer.Plaintext;
  }

  #deadline(): { abortSignal: AbortSignal } {
    return { abortSignal: AbortSignal.timeout(this.#options.answerTimeoutMs ?? answerTimeoutMs) };
  }

  async #call<Result>(action: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw mapKmsError(error, action, this.#options.keyId);
    }
  }

  #withoutAnswer(action: string): DaybookError {
    return mapKmsError({ name: 'EmptyAnswer' }, action, this.#options.keyId);
  }
}
