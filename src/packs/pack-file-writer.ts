import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { codingsOf, encodedName, type PackEncoding } from '../core/pack-encoding.js';
import type { PackFile } from '../core/pack-manifest.js';
import { EncodedOutput, type WrittenBytes } from './encoded-output.js';

/** What waits in memory for the disk, per file. */
const bufferBytes = 128 * 1024;

/** What is known of a file but its bytes. */
export interface PackFileFacts {
  readonly rows: number | null;
  readonly firstIndex: number | null;
  readonly lastIndex: number | null;
  readonly query: string | null;
}

/**
 * Writes one file of a pack, compressed and encrypted as the pack is, hashed on the way and flushed to disk at its end. Owned
 * by one build.
 */
export class PackFileWriter implements AsyncDisposable {
  readonly #hash = createHash('sha256');
  /** Used over and over: a buffer for each write would be garbage outside of the heap, which is collected late. */
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  #used = 0;
  #size = 0;
  #isOpen = true;

  private constructor(
    private readonly storedName: string,
    private readonly file: FileHandle,
    /** Null for a file that is stored as it is. */
    private readonly output: EncodedOutput | null,
  ) {}

  static async create(folder: string, name: string, encoding: PackEncoding): Promise<PackFileWriter> {
    const codings = codingsOf(name, encoding);
    const storedName = encodedName(name, codings);
    const file = await open(join(folder, storedName), 'wx', 0o600);
    const output = codings.length === 0 ? null : new EncodedOutput(file, codings, encoding.recipients);
    return new PackFileWriter(storedName, file, output);
  }

  /**
   * Answers a promise only when the disk has to be waited for; nothing else may be written until then.
   */
  write(text: string): Promise<void> | undefined {
    const length = Buffer.byteLength(text);
    if (length > bufferBytes) return this.#writeLong(text);
    if (this.#used + length > bufferBytes) return this.#flushAndKeep(text);
    this.#used += this.#buffer.write(text, this.#used);
    return undefined;
  }

  /** Ends the file; `modified` is the time it gets in the manifest. */
  async finish(facts: PackFileFacts, modified: string): Promise<PackFile> {
    await this.#flush();
    const plain: WrittenBytes = { size: this.#size, sha256: this.#hash.digest('hex') };
    const stored = (await this.output?.finish()) ?? plain;
    await this.file.sync();
    this.#isOpen = false;
    await this.file.close();
    const { rows, firstIndex, lastIndex, query } = facts;
    return {
      ...plain,
      modified,
      stored: { name: this.storedName, ...stored },
      rows,
      first_index: firstIndex,
      last_index: lastIndex,
      gaps: firstIndex === null || lastIndex === null || rows === null ? (rows === null ? null : 0) : gapsOf(facts),
      query,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.output?.abort();
    await this.file.close();
  }

  async #flushAndKeep(text: string): Promise<void> {
    await this.#flush();
    this.#used = this.#buffer.write(text);
  }

  /** A configuration may be longer than the buffer. */
  async #writeLong(text: string): Promise<void> {
    await this.#flush();
    await this.#pass(Buffer.from(text));
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#used);
    this.#used = 0;
    if (bytes.length > 0) await this.#pass(bytes);
  }

  async #pass(bytes: Buffer): Promise<void> {
    this.#hash.update(bytes);
    this.#size += bytes.length;
    if (this.output === null) await this.file.write(bytes);
    else await this.output.write(bytes);
  }
}

/** A selection has the gaps of what it does not select; a log's own file must have none. */
function gapsOf({ rows, firstIndex, lastIndex }: PackFileFacts): number {
  return (lastIndex ?? 0) - (firstIndex ?? 0) + 1 - (rows ?? 0);
}
