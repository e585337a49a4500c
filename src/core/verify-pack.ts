import { createHash } from 'node:crypto';
import { decodeHex, decodeUtf8, encodeHex, equalBytes } from './bytes.js';
import { parseCheckpoint, type Checkpoint } from './checkpoint.js';
import { hashChainLink, hashLeaf } from './hash-entry.js';
import { CompactRange, emptyRoot } from './merkle-tree.js';
import { derivedFiles, headerOf, PackContents, type DerivedFile, type DerivedLine } from './pack-contents.js';
import type { PackFault, PackFaultCode } from './pack-faults.js';
import {
  hashManifestFile,
  judgeManifest,
  manifestName,
  packFileNames,
  parseManifestFile,
  type PackFile,
  type PackLog,
  type PackManifest,
} from './pack-manifest.js';
import { readLines } from './read-lines.js';
import { parseNote, verifyNote } from './signed-note.js';
import type { VerifierKey } from './verifier-key.js';

/** Where a pack lies. What comes from here is hostile. */
export interface PackReader {
  /** For people. */
  readonly description: string;
  /** Names of everything in it, folders included. */
  list(): Promise<readonly string[]>;
  /** The file's bytes; null where there is none. */
  read(name: string): AsyncIterable<Uint8Array> | null;
}

export interface PackVerdict {
  /** Null where there was none to read. */
  readonly manifest: PackManifest | null;
  readonly manifestSha256: string | null;
  readonly signer: 'verified' | 'not-pinned' | 'none';
  /** The gravest first. Empty: nothing contradicts. */
  readonly faults: readonly PackFault[];
  readonly entriesChecked: number;
}

const manifestBytesMax = 8_000_000;
const noteBytesMax = 1_000_000;
/** A body has at most 65,535 bytes. */
const lineBytesMax = 65_535;

/**
 * Verifies one evidence pack with nothing but the keys one trusts: the manifest's signature, each file against it, the
 * entries against the signed tree heads around them, the chain, and every readable file and total against the entries.
 * Without keys, signatures are checked under the keys they name and the verdict's signer is `not-pinned`. Throws what the
 * reader throws.
 */
export async function verifyPack(reader: PackReader, keys: readonly VerifierKey[]): Promise<PackVerdict> {
  return new PackVerification(reader, keys).run();
}

/** Owned by one verifyPack. */
class PackVerification {
  readonly #faults: PackFault[] = [];
  readonly #contents = new PackContents();
  #entriesChecked = 0;

  constructor(
    private readonly reader: PackReader,
    private readonly keys: readonly VerifierKey[],
  ) {}

  async run(): Promise<PackVerdict> {
    const bytes = await readAll(this.reader, manifestName, manifestBytesMax);
    if (bytes === null) {
      this.#fault('MANIFEST_MISSING', manifestName, `${this.reader.description} has no ${manifestName}`);
      return this.#verdict(null, null, 'none');
    }
    const parsed = this.#parse(bytes);
    if (parsed === null) return this.#verdict(null, hashManifestFile(bytes), 'none');
    const { manifest, signatures } = parsed;
    const signer = judgeManifest(manifest, signatures, this.keys);
    if (signer.status === 'unsigned') this.#fault('UNSIGNED', manifestName, 'nobody signed the manifest');
    if (signer.status === 'bad-signature')
      this.#fault('SIGNATURE_BAD', manifestName, 'a signature under the manifest does not fit it');
    if (signer.status === 'unknown-key' && this.keys.length > 0)
      this.#fault('WRONG_KEY', manifestName, 'the manifest is signed by a key that is not among the trusted ones');
    const intact = await this.#compareFiles(manifest);
    await this.#verifyLogs(manifest, intact);
    this.#verifyAnchors(manifest);
    const status = signer.status === 'verified' ? 'verified' : this.keys.length === 0 ? 'not-pinned' : 'none';
    return this.#verdict(manifest, hashManifestFile(bytes), status);
  }

  #parse(bytes: Uint8Array): ReturnType<typeof parseManifestFile> | null {
    try {
      return parseManifestFile(decodeUtf8(bytes));
    } catch (error) {
      // NotCanonicalError and SyntaxError alike say what is wrong with it.
      this.#fault('MANIFEST_MALFORMED', manifestName, (error as Error).message);
      return null;
    }
  }

  /** Names of the files that are what the manifest says. */
  async #compareFiles(manifest: PackManifest): Promise<ReadonlySet<string>> {
    const intact = new Set<string>();
    const missing: string[] = [];
    for (const name of packFileNames) {
      if (manifest.files[name] === undefined) this.#fault('FILE_MISSING', name, 'the manifest does not name it');
    }
    for (const [name, expected] of Object.entries(manifest.files)) {
      const found = await hashFile(this.reader, name);
      if (found === null) missing.push(name);
      else if (found.size < expected.size) {
        this.#fault('FILE_TRUNCATED', name, `it has ${found.size} bytes of ${expected.size}`);
      } else if (found.size !== expected.size || found.sha256 !== expected.sha256) {
        this.#fault('FILE_ALTERED', name, `its SHA-256 is ${found.sha256}, in the manifest ${expected.sha256}`);
      } else intact.add(name);
    }
    await this.#compareNames(manifest, missing);
    return intact;
  }

  async #compareNames(manifest: PackManifest, missing: readonly string[]): Promise<void> {
    const absent = new Set(missing);
    for (const name of await this.reader.list()) {
      if (name === manifestName || manifest.files[name] !== undefined) continue;
      const found = await hashFile(this.reader, name);
      const original = missing.find((each) => absent.has(each) && manifest.files[each]?.sha256 === found?.sha256);
      if (original === undefined) this.#fault('FILE_EXTRA', name, 'the manifest does not name it');
      else {
        absent.delete(original);
        this.#fault('FILE_RENAMED', original, `it is there as ${name}`);
      }
    }
    for (const name of absent) this.#fault('FILE_MISSING', name, 'it is not there');
  }

  /** A log whose file is not intact is not looked into: what is wrong with the file says enough. */
  async #verifyLogs(manifest: PackManifest, intact: ReadonlySet<string>): Promise<void> {
    const derived = new DerivedHashes();
    let complete = true;
    for (const log of ['audit', 'signals'] as const) {
      const isIntact = intact.has(`${log}.jsonl`);
      if (isIntact) await this.#verifyLog(log, manifest, derived, intact);
      complete &&= isIntact;
    }
    if (!complete) return;
    for (const [file, found] of derived.finish()) {
      const named = manifest.files[file];
      if (named === undefined || (named.sha256 === found.sha256 && named.rows === found.rows)) continue;
      this.#fault('DERIVED_MISMATCH', file, 'it does not say what the entries say');
    }
    if (!sameTotals(manifest, this.#contents)) {
      this.#fault('DERIVED_MISMATCH', manifestName, 'its totals are not those of the entries');
    }
  }

  async #verifyLog(
    log: 'audit' | 'signals',
    manifest: PackManifest,
    derived: DerivedHashes,
    intact: ReadonlySet<string>,
  ): Promise<void> {
    const claimed = manifest.logs[log];
    const file = `${log}.jsonl`;
    const tree = this.#startTree(file, claimed);
    if (tree === null) return;
    const previous = await this.#readHead(log, `${log}.previous.checkpoint`, claimed, intact);
    const head = await this.#readHead(log, `${log}.checkpoint`, claimed, intact);
    if (claimed.previous_tree_size > 0) this.#compareHead(file, previous, claimed.previous_tree_size, tree.root());
    let chainHash = claimed.chain_before;
    let index = claimed.previous_tree_size;
    for await (const line of this.#lines(file)) {
      const leaf = hashLeaf(line);
      tree.append(decodeHex(leaf));
      chainHash = hashChainLink(chainHash, leaf);
      this.#derive(log, index, line, derived);
      index += 1;
      this.#entriesChecked += 1;
    }
    const count = index - claimed.previous_tree_size;
    if (index !== claimed.tree_size || count !== claimed.count || !isRange(claimed, manifest.files[file], count)) {
      this.#fault('ROWS_CHANGED', file, `it holds ${count} entries up to ${index}, the manifest says ${claimed.count}`);
    }
    if (chainHash !== claimed.chain_after) {
      this.#fault('CHAIN_BROKEN', file, `its entries lead to the chain hash ${chainHash}, not ${claimed.chain_after}`);
    }
    const root = tree.size === 0 ? emptyRoot : tree.root();
    if (encodeHex(root) !== claimed.root_hash) {
      this.#fault('ROWS_CHANGED', file, `its entries give the root ${encodeHex(root)}, not ${claimed.root_hash}`);
    }
    if (claimed.tree_size > 0) this.#compareHead(file, head, index, root);
  }

  #startTree(file: string, claimed: PackLog): CompactRange | null {
    try {
      return new CompactRange(claimed.previous_tree_size, claimed.previous_subtrees.map(decodeHex));
    } catch (error) {
      this.#fault('MANIFEST_MALFORMED', manifestName, `the tree before ${file}: ${(error as Error).message}`);
      return null;
    }
  }

  #derive(log: 'audit' | 'signals', index: number, line: string, derived: DerivedHashes): void {
    try {
      const lines = log === 'audit' ? this.#contents.takeAudit(index, line) : this.#contents.takeSignal(index, line);
      lines.forEach((each) => derived.add(each));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#fault('ROWS_CHANGED', `${log}.jsonl`, `line of index ${index} is not an entry's body: ${error.message}`);
    }
  }

  async *#lines(file: string): AsyncIterable<string> {
    const bytes = this.reader.read(file);
    if (bytes === null) return;
    try {
      yield* readLines(bytes, lineBytesMax);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#fault('ROWS_CHANGED', file, error.message);
    }
  }

  /** A tree head by a trusted key; by any key where none is pinned. Null, with its fault, for anything else. */
  async #readHead(
    log: string,
    file: string,
    claimed: PackLog,
    intact: ReadonlySet<string>,
  ): Promise<Checkpoint | null> {
    const isPrevious = file !== `${log}.checkpoint`;
    if ((isPrevious ? claimed.previous_tree_size : claimed.tree_size) === 0 || !intact.has(file)) return null;
    const bytes = await readAll(this.reader, file, noteBytesMax);
    try {
      const note = parseNote(decodeUtf8(bytes ?? new Uint8Array()));
      const checkpoint = parseCheckpoint(note.text);
      if (checkpoint.origin !== claimed.origin) throw new SyntaxError(`it is of ${checkpoint.origin}`);
      if (!claimed.origin.endsWith(`/${log}`)) throw new SyntaxError(`it is not of the ${log} log`);
      const verdict = verifyNote(note, this.keys);
      if (this.keys.length > 0 && verdict.status !== 'verified') throw new SyntaxError('no trusted key signed it');
      return checkpoint;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#fault('CHECKPOINT_BAD', file, error.message);
      return null;
    }
  }

  #compareHead(file: string, head: Checkpoint | null, size: number, root: Uint8Array): void {
    if (head === null || (head.size === size && equalBytes(head.root, root))) return;
    this.#fault('ROWS_CHANGED', file, `its entries are not those of the checkpoint of ${head.size} entries`);
  }

  #verifyAnchors(manifest: PackManifest): void {
    for (const { log, kind, target, mode, status } of manifest.anchors) {
      if (mode !== 'required' || status === 'ANCHORED') continue;
      this.#fault('ANCHOR_MISSING', null, `the ${kind} anchor of the ${log} log at ${target} is ${status}`);
    }
  }

  #fault(code: PackFaultCode, file: string | null, message: string): void {
    if (this.#faults.length < faultsMax) this.#faults.push({ code, file, message });
  }

  #verdict(manifest: PackManifest | null, sha256: string | null, signer: PackVerdict['signer']): PackVerdict {
    return {
      manifest,
      manifestSha256: sha256,
      signer,
      faults: this.#faults,
      entriesChecked: this.#entriesChecked,
    };
  }
}

/** A hostile pack may have any number. */
const faultsMax = 1_000;

/** The hashes that the derived files must have. */
class DerivedHashes {
  readonly #files = new Map(
    derivedFiles.map((file) => [file, { hash: createHash('sha256').update(headerOf(file)), rows: 0 }]),
  );

  add({ file, line }: DerivedLine): void {
    const found = this.#files.get(file);
    if (found === undefined) return;
    found.hash.update(line);
    found.rows += 1;
  }

  finish(): [DerivedFile, { readonly sha256: string; readonly rows: number }][] {
    return [...this.#files].map(([file, { hash, rows }]) => [file, { sha256: hash.digest('hex'), rows }]);
  }
}

function isRange(claimed: PackLog, file: PackFile | undefined, count: number): boolean {
  const first = count === 0 ? null : claimed.previous_tree_size;
  const last = count === 0 ? null : claimed.previous_tree_size + count - 1;
  return (
    claimed.first_index === first &&
    claimed.last_index === last &&
    claimed.expected === count &&
    file?.rows === count &&
    file.gaps === 0
  );
}

function sameTotals(manifest: PackManifest, contents: PackContents): boolean {
  const sorted = (value: object) =>
    JSON.stringify(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
  const { redactions: claimedRedactions, ...claimed } = manifest.totals;
  const { redactions, ...totals } = contents.totals;
  return sorted(claimed) === sorted(totals) && sorted(claimedRedactions ?? {}) === sorted(redactions);
}

async function hashFile(reader: PackReader, name: string): Promise<{ size: number; sha256: string } | null> {
  const bytes = reader.read(name);
  if (bytes === null) return null;
  const hash = createHash('sha256');
  let size = 0;
  for await (const part of bytes) {
    hash.update(part);
    size += part.length;
  }
  return { size, sha256: hash.digest('hex') };
}

async function readAll(reader: PackReader, name: string, bytesMax: number): Promise<Uint8Array | null> {
  const bytes = reader.read(name);
  if (bytes === null) return null;
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of bytes) {
    parts.push(part);
    length += part.length;
    if (length > bytesMax) break;
  }
  const whole = new Uint8Array(length);
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
