import { createHash } from 'node:crypto';
import {
  codingsOf,
  decodeFile,
  encodedName,
  SealedFileError,
  type PackCoding,
  type PackDecoders,
} from './pack-encoding.js';
import type { PackFault, PackFaultCode } from './pack-faults.js';
import { manifestName, packFileNames, type PackManifest } from './pack-manifest.js';

/** Where a pack lies. What comes from here is hostile. */
export interface PackReader {
  /** For people. */
  readonly description: string;
  /** Names of everything in it, folders included. */
  list(): Promise<readonly string[]>;
  /** The file's bytes; null where there is none. */
  read(name: string): AsyncIterable<Uint8Array> | null;
}

export interface ComparedFiles {
  /** Of each file that is what the manifest says, its plain bytes, as often as they are asked for. */
  readonly contents: ReadonlyMap<string, () => AsyncIterable<Uint8Array>>;
  /** Files whose stored bytes are what the manifest says, and that could not be opened here. */
  readonly sealed: ReadonlySet<string>;
  readonly faults: readonly PackFault[];
}

/**
 * Compares what lies in a pack with what its manifest names. A file may lie as it was stored, or with its codings undone from
 * the last on, as `age -d` and `gunzip` leave it: whichever forms are there, each must be right. Throws what the reader throws.
 */
export async function comparePackFiles(
  reader: PackReader,
  manifest: PackManifest,
  decoders: PackDecoders,
): Promise<ComparedFiles> {
  const comparison = new Comparison(reader, manifest, decoders);
  await comparison.run();
  return comparison;
}

/** Owned by one comparePackFiles. */
class Comparison implements ComparedFiles {
  readonly contents = new Map<string, () => AsyncIterable<Uint8Array>>();
  readonly sealed = new Set<string>();
  readonly faults: PackFault[] = [];
  /** Names under which something lies that the manifest stands for. */
  readonly #known = new Set([manifestName]);
  readonly #missing = new Set<string>();

  constructor(
    private readonly reader: PackReader,
    private readonly manifest: PackManifest,
    private readonly decoders: PackDecoders,
  ) {}

  async run(): Promise<void> {
    for (const name of packFileNames) {
      if (this.manifest.files[name] === undefined) this.#fault('FILE_MISSING', name, 'the manifest does not name it');
    }
    for (const name of Object.keys(this.manifest.files)) await this.#compare(name);
    await this.#compareNames();
  }

  async #compare(name: string): Promise<void> {
    const done = codingsOf(name, this.manifest.encoding);
    let forms = 0;
    for (let undone = 0; undone <= done.length; undone += 1) {
      const codings = done.slice(0, done.length - undone);
      const lies = encodedName(name, codings);
      this.#known.add(lies);
      if (this.reader.read(lies) === null) continue;
      forms += 1;
      await this.#compareForm(name, lies, codings, undone === 0);
    }
    if (forms === 0) this.#missing.add(name);
  }

  async #compareForm(name: string, lies: string, codings: readonly PackCoding[], isStored: boolean): Promise<void> {
    const expected = this.manifest.files[name];
    if (expected === undefined) return;
    if (isStored && this.#differs(lies, await hashBytes(this.#bytesOf(lies)), expected.stored)) return;
    const open = () => decodeFile(this.#bytesOf(lies), codings, this.decoders);
    // A file that is stored as it is has been compared by now.
    if (!isStored || codings.length > 0) {
      const content = await this.#hashContent(lies, open, expected.size, isStored);
      if (content === 'sealed') this.sealed.add(name);
      if (content === 'sealed' || content === 'undecodable') return;
      if (isStored && (content.size !== expected.size || content.sha256 !== expected.sha256)) {
        this.#fault('ENCODING_BAD', lies, `it holds other bytes than the manifest says ${name} has`);
        return;
      }
      if (this.#differs(lies, content, expected)) return;
    }
    this.sealed.delete(name);
    this.contents.set(name, () => open() ?? nothing());
  }

  /** Beyond the size that the manifest names, the rest is not decoded. */
  async #hashContent(
    lies: string,
    open: () => AsyncIterable<Uint8Array> | null,
    sizeMax: number,
    isStored: boolean,
  ): Promise<Measured | 'sealed' | 'undecodable'> {
    const bytes = open();
    if (bytes === null) return 'sealed';
    try {
      return await hashBytes(bytes, sizeMax);
    } catch (error) {
      if (error instanceof SealedFileError) return 'sealed';
      if (!(error instanceof SyntaxError)) throw error;
      this.#fault(isStored ? 'ENCODING_BAD' : 'FILE_ALTERED', lies, error.message);
      return 'undecodable';
    }
  }

  #differs(lies: string, found: Measured, expected: Measured): boolean {
    if (found.size < expected.size) {
      this.#fault('FILE_TRUNCATED', lies, `it has ${found.size} bytes of ${expected.size}`);
      return true;
    }
    if (found.size === expected.size && found.sha256 === expected.sha256) return false;
    this.#fault('FILE_ALTERED', lies, `its SHA-256 is ${found.sha256}, in the manifest ${expected.sha256}`);
    return true;
  }

  /** What the manifest does not name is a file too many, or a missing one under another name. */
  async #compareNames(): Promise<void> {
    for (const lies of await this.reader.list()) {
      if (this.#known.has(lies)) continue;
      const bytes = this.reader.read(lies);
      const found = bytes === null ? null : await hashBytes(bytes);
      const original = [...this.#missing].find((name) => {
        const file = this.manifest.files[name];
        return found !== null && (file?.stored.sha256 === found.sha256 || file?.sha256 === found.sha256);
      });
      if (original === undefined) this.#fault('FILE_EXTRA', lies, 'the manifest does not name it');
      else {
        this.#missing.delete(original);
        this.#fault('FILE_RENAMED', original, `it is there as ${lies}`);
      }
    }
    for (const name of this.#missing) this.#fault('FILE_MISSING', name, 'it is not there');
  }

  #bytesOf(lies: string): AsyncIterable<Uint8Array> {
    return this.reader.read(lies) ?? nothing();
  }

  #fault(code: PackFaultCode, file: string, message: string): void {
    this.faults.push({ code, file, message });
  }
}

interface Measured {
  readonly size: number;
  readonly sha256: string;
}

/** Beyond `sizeMax` the rest is left unread: a few bytes may decompress to any number. */
async function hashBytes(bytes: AsyncIterable<Uint8Array>, sizeMax = Infinity): Promise<Measured> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const part of bytes) {
    hash.update(part);
    size += part.length;
    if (size > sizeMax) break;
  }
  return { size, sha256: hash.digest('hex') };
}

async function* nothing(): AsyncIterable<Uint8Array> {
  // A file that was removed while it was read has no bytes.
}
