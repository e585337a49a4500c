import { createHash } from 'node:crypto';
import { comparePackFiles, type ComparedFiles, type PackReader } from './compare-pack-files.js';
import { decodeHex, decodeUtf8, encodeHex, equalBytes } from './bytes.js';
import { parseCheckpoint, type Checkpoint } from './checkpoint.js';
import { hashChainLink, hashLeaf } from './hash-entry.js';
import { CompactRange, emptyRoot } from './merkle-tree.js';
import {
  derivedFiles,
  headerOf,
  PackContents,
  type DerivedFile,
  type DerivedLine,
  type PackTotals,
} from './pack-contents.js';
import type { PackDecoders } from './pack-encoding.js';
import type { PackFault, PackFaultCode } from './pack-faults.js';
import {
  hashManifestFile,
  judgeManifest,
  manifestName,
  parseManifestFile,
  type PackFile,
  type PackLog,
  type PackManifest,
} from './pack-manifest.js';
import { readLines } from './read-lines.js';
import { parseNote, verifyNote } from './signed-note.js';
import type { VerifierKey } from './verifier-key.js';

export interface PackVerdict {
  /** Null where there was none to read. */
  readonly manifest: PackManifest | null;
  readonly manifestSha256: string | null;
  readonly signer: 'verified' | 'not-pinned' | 'none';
  /** In the order in which they were found. Empty: nothing contradicts. */
  readonly faults: readonly PackFault[];
  /** Files that could not be looked into, for they are encrypted; their stored bytes are right. */
  readonly sealed: readonly string[];
  readonly entriesChecked: number;
}

const manifestBytesMax = 8_000_000;
const noteBytesMax = 1_000_000;
/** A body has at most 65,535 bytes. */
const lineBytesMax = 65_535;

/**
 * Verifies one evidence pack with nothing but the keys one trusts: the manifest's signature, each file against it, the
 * entries against the signed tree heads around them, the chain, and every readable file and total against the entries.
 * Without keys, signatures are checked under the keys they name and the verdict's signer is `not-pinned`. Of files that
 * `decoders` do not open, the stored bytes are checked, and the manifest's roots against the signed tree heads. Throws what
 * the reader throws.
 */
export async function verifyPack(
  reader: PackReader,
  keys: readonly VerifierKey[],
  decoders: PackDecoders = {},
): Promise<PackVerdict> {
  return new PackVerification(reader, keys, decoders).run();
}

/** Owned by one verifyPack. */
class PackVerification {
  readonly #faults: PackFault[] = [];
  readonly #contents = new PackContents();
  #entriesChecked = 0;
  #sealed: readonly string[] = [];

  constructor(
    private readonly reader: PackReader,
    private readonly keys: readonly VerifierKey[],
    private readonly decoders: PackDecoders,
  ) {}

  async run(): Promise<PackVerdict> {
    const source = this.reader.read(manifestName);
    if (source === null) {
      this.#fault('MANIFEST_MISSING', manifestName, `${this.reader.description} has no ${manifestName}`);
      return this.#verdict(null, null, 'none');
    }
    const bytes = await readAll(source, manifestBytesMax);
    const parsed = this.#parse(bytes);
    if (parsed === null) return this.#verdict(null, hashManifestFile(bytes), 'none');
    const { manifest, signatures } = parsed;
    const signer = judgeManifest(manifest, signatures, this.keys);
    if (signer.status === 'unsigned') this.#fault('UNSIGNED', manifestName, 'nobody signed the manifest');
    if (signer.status === 'bad-signature')
      this.#fault('SIGNATURE_BAD', manifestName, 'a signature under the manifest does not fit it');
    if (signer.status === 'unknown-key' && this.keys.length > 0)
      this.#fault('WRONG_KEY', manifestName, 'the manifest is signed by a key that is not among the trusted ones');
    const files = await comparePackFiles(this.reader, manifest, this.decoders);
    for (const { code, file, message } of files.faults) this.#fault(code, file, message);
    this.#sealed = [...files.sealed];
    await this.#verifyLogs(manifest, files);
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

  /** A log whose file is not intact is not looked into: what is wrong with the file says enough. */
  async #verifyLogs(manifest: PackManifest, files: ComparedFiles): Promise<void> {
    const derived = new DerivedHashes();
    let complete = true;
    for (const log of ['audit', 'signals'] as const) {
      const open = files.contents.get(`${log}.jsonl`);
      if (open !== undefined) await this.#verifyLog(log, manifest, derived, files, open());
      else if (files.sealed.has(`${log}.jsonl`)) await this.#verifySealedLog(log, manifest.logs[log], files);
      complete &&= open !== undefined;
    }
    if (!complete) return;
    for (const [file, found] of derived.finish()) {
      const named = manifest.files[file];
      if (named === undefined || (named.sha256 === found.sha256 && named.rows === found.rows)) continue;
      this.#fault('DERIVED_MISMATCH', file, 'it does not say what the entries say');
    }
    if (manifest.totals !== null && !sameTotals(manifest.totals, this.#contents.totals)) {
      this.#fault('DERIVED_MISMATCH', manifestName, 'its totals are not those of the entries');
    }
  }

  /** What is left where the entries cannot be read: that the manifest claims the trees that were signed. */
  async #verifySealedLog(log: 'audit' | 'signals', claimed: PackLog, files: ComparedFiles): Promise<void> {
    const file = `${log}.jsonl`;
    const tree = this.#startTree(file, claimed);
    if (tree === null) return;
    const previous = await this.#readHead(log, `${log}.previous.checkpoint`, claimed, files);
    const head = await this.#readHead(log, `${log}.checkpoint`, claimed, files);
    if (claimed.previous_tree_size > 0) this.#compareHead(file, previous, claimed.previous_tree_size, tree.root());
    if (claimed.tree_size > 0) this.#compareHead(file, head, claimed.tree_size, decodeHex(claimed.root_hash));
    if (claimed.count !== claimed.tree_size - claimed.previous_tree_size) {
      this.#fault('ROWS_CHANGED', file, `the manifest says ${claimed.count} entries up to ${claimed.tree_size}`);
    }
  }

  async #verifyLog(
    log: 'audit' | 'signals',
    manifest: PackManifest,
    derived: DerivedHashes,
    files: ComparedFiles,
    bytes: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const claimed = manifest.logs[log];
    const file = `${log}.jsonl`;
    const tree = this.#startTree(file, claimed);
    if (tree === null) return;
    const previous = await this.#readHead(log, `${log}.previous.checkpoint`, claimed, files);
    const head = await this.#readHead(log, `${log}.checkpoint`, claimed, files);
    if (claimed.previous_tree_size > 0) this.#compareHead(file, previous, claimed.previous_tree_size, tree.root());
    let chainHash = claimed.chain_before;
    let index = claimed.previous_tree_size;
    for await (const line of this.#lines(file, bytes)) {
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

  async *#lines(file: string, bytes: AsyncIterable<Uint8Array>): AsyncIterable<string> {
    try {
      yield* readLines(bytes, lineBytesMax);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#fault('ROWS_CHANGED', file, error.message);
    }
  }

  /** A tree head by a trusted key; by any key where none is pinned. Null, with its fault, for anything else. */
  async #readHead(log: string, file: string, claimed: PackLog, files: ComparedFiles): Promise<Checkpoint | null> {
    const open = files.contents.get(file);
    const isPrevious = file !== `${log}.checkpoint`;
    if ((isPrevious ? claimed.previous_tree_size : claimed.tree_size) === 0 || open === undefined) return null;
    const bytes = await readAll(open(), noteBytesMax);
    try {
      const note = parseNote(decodeUtf8(bytes));
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
      sealed: this.#sealed,
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

function sameTotals(claimedTotals: PackTotals, found: PackTotals): boolean {
  const sorted = (value: object) =>
    JSON.stringify(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
  const { redactions: claimedRedactions, ...claimed } = claimedTotals;
  const { redactions, ...totals } = found;
  return sorted(claimed) === sorted(totals) && sorted(claimedRedactions ?? {}) === sorted(redactions);
}

async function readAll(bytes: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Uint8Array> {
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
