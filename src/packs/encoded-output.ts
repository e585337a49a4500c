import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { CompressionStream, TransformStream, type ReadableStream } from 'node:stream/web';
import type { PackCoding } from '../core/pack-encoding.js';
import { encryptAge } from './age.js';

/** What lies in a file. */
export interface WrittenBytes {
  readonly size: number;
  readonly sha256: string;
}

/**
 * Compresses and encrypts what is written, and writes that into a file, hashed on the way. Takes no more than it can pass on.
 * Owned by one PackFileWriter, which owns the file.
 */
export class EncodedOutput {
  readonly #input = new TransformStream<Uint8Array, Uint8Array>();
  readonly #writer = this.#input.writable.getWriter();
  readonly #written: Promise<WrittenBytes>;

  constructor(
    private readonly file: FileHandle,
    private readonly codings: readonly PackCoding[],
    private readonly recipients: readonly string[],
  ) {
    this.#written = this.#pass();
    // Who writes or finishes learns of it.
    this.#written.catch(() => undefined);
  }

  /** The bytes are the caller's again when it resolves. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#orItsReason(this.#writer.write(Uint8Array.from(bytes)));
  }

  async finish(): Promise<WrittenBytes> {
    await this.#orItsReason(this.#writer.close());
    return this.#written;
  }

  async abort(): Promise<void> {
    await Promise.allSettled([this.#writer.abort(new Error('the pack is not finished')), this.#written]);
  }

  /** A stream that ended says that it ended; why, says the promise of what was to be written. */
  async #orItsReason(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      await this.#written;
      throw error;
    }
  }

  async #pass(): Promise<WrittenBytes> {
    const hash = createHash('sha256');
    let size = 0;
    for await (const part of await this.#encode()) {
      hash.update(part);
      size += part.length;
      await this.file.write(part);
    }
    return { size, sha256: hash.digest('hex') };
  }

  async #encode(): Promise<ReadableStream<Uint8Array>> {
    let stream: ReadableStream<Uint8Array> = this.#input.readable;
    for (const coding of this.codings) {
      if (coding === 'age') stream = await encryptAge(stream, this.recipients);
      else stream = stream.pipeThrough<Uint8Array>(new CompressionStream('gzip'));
    }
    return stream;
  }
}
