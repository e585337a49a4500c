import { ReadableStream } from 'node:stream/web';
import { Decrypter, Encrypter } from 'age-encryption';
import { SealedFileError, type PackDecoder } from '../core/pack-encoding.js';
import { DaybookError, type ErrorCode } from '../errors.js';

/** Each takes one line of some 200 bytes in the header of every file. */
const recipientsMax = 50;
/** Read for an encrypted file's header; one that recipientsMax allows is far shorter. */
const headerBytesMax = 2 ** 20;
const pieceBytes = 64 * 1024;

/**
 * The public keys in a text, one a line; empty lines and those after `#` are left out. Sorted, each once. Throws `code` for
 * anything else, and where there is none.
 */
export function parseRecipients(text: string, source: string, code: ErrorCode): string[] {
  const recipients = [...new Set(linesOf(text))].sort();
  for (const recipient of recipients) {
    try {
      new Encrypter().addRecipient(recipient);
    } catch (error) {
      throw new DaybookError(code, `${source}: ${recipient.slice(0, 80)} is no age public key (age1…)`, {
        cause: error,
      });
    }
  }
  if (recipients.length === 0) throw new DaybookError(code, `${source} holds no age public key (age1…)`);
  if (recipients.length > recipientsMax) {
    throw new DaybookError(
      code,
      `${source} holds ${recipients.length} age public keys; at most ${recipientsMax} are allowed`,
    );
  }
  return recipients;
}

/** The secret keys in a file such as age-keygen writes. Throws BAD_USER_INPUT, which never holds a key. */
export function parseIdentities(text: string, source: string): string[] {
  const identities = linesOf(text);
  identities.forEach((identity, place) => {
    try {
      new Decrypter().addIdentity(identity);
    } catch {
      throw new DaybookError('BAD_USER_INPUT', `${source}: key ${place + 1} is no age secret key (AGE-SECRET-KEY-1…)`);
    }
  });
  if (identities.length === 0) throw new DaybookError('BAD_USER_INPUT', `${source} holds no age secret key`);
  return identities;
}

/** Encrypts in chunks of 64 KiB, so memory does not grow with the file. */
export async function encryptAge(
  plain: ReadableStream<Uint8Array>,
  recipients: readonly string[],
): Promise<ReadableStream<Uint8Array>> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  return encrypter.encrypt(plain);
}

/** Opens what is encrypted to one of the identities; throws SealedFileError for what is encrypted to others alone. */
export function ageDecoder(identities: readonly string[]): PackDecoder {
  return async function* decrypt(bytes) {
    const source = new GuardedSource(bytes);
    const decrypter = new Decrypter();
    for (const identity of identities) decrypter.addIdentity(identity);
    // Asked last, and so only where none before it fits.
    decrypter.addIdentity({
      unwrapFileKey: () => {
        throw new SealedFileError('it is encrypted to other keys');
      },
    });
    try {
      const plain = await decrypter.decrypt(ReadableStream.from(source.pieces()));
      source.headerIsRead = true;
      yield* plain;
    } catch (error) {
      if (error instanceof SealedFileError) throw error;
      if (source.failure !== undefined) throw source.failure;
      throw new SyntaxError(`it cannot be decrypted: ${(error as Error).message}`, { cause: error });
    } finally {
      await source.close();
    }
  };
}

/** Tells a source that failed from bytes that are wrong, and ends a header that has no end. Owned by one decryption. */
class GuardedSource {
  failure: Error | undefined;
  headerIsRead = false;
  readonly #parts: AsyncIterator<Uint8Array>;

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#parts = bytes[Symbol.asyncIterator]();
  }

  async *pieces(): AsyncIterable<Uint8Array> {
    let length = 0;
    for (let part = await this.#next(); part !== null; part = await this.#next()) {
      for (let start = 0; start < part.length; start += pieceBytes) {
        if (!this.headerIsRead && length > headerBytesMax) throw new RangeError('its header has no end');
        const piece = part.subarray(start, start + pieceBytes);
        length += piece.length;
        yield piece;
      }
    }
  }

  async close(): Promise<void> {
    await this.#parts.return?.();
  }

  async #next(): Promise<Uint8Array | null> {
    try {
      const result = await this.#parts.next();
      return result.done === true ? null : result.value;
    } catch (error) {
      this.failure = error as Error;
      throw error;
    }
  }
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}
