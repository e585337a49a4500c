import { encodeUtf8, decodeBase64, encodeBase64, encodeHex } from './bytes.js';
import { encodeCanonicalJson } from './canonical-json.js';
import { sha256, verifyEd25519 } from './digest.js';
import type { PackTotals } from './pack-contents.js';
import { codingsOf, encodedName, isPackEncoding, type PackEncoding } from './pack-encoding.js';
import { parseVerifierKey, type VerifierKey } from './verifier-key.js';

/** The signed list of what an evidence pack holds (docs/packs.md). Sizes are bytes, hashes lower-case hex, times RFC 3339 UTC. */
export const packFormat = 'daybook-pack-1';
export const manifestName = 'manifest.json';

/** Every pack has each of these, also on a day without entries. */
export const packFileNames = [
  'alerts.jsonl',
  'anchors.json',
  'audit.checkpoint',
  'audit.jsonl',
  'audit.previous.checkpoint',
  'config.diff',
  'config_snapshot.json',
  'fills.csv',
  'orders.csv',
  'report.html',
  'signals.checkpoint',
  'signals.csv',
  'signals.jsonl',
  'signals.previous.checkpoint',
] as const;

/** A file before it was compressed and encrypted, and as it is stored. */
export interface PackFile {
  readonly size: number;
  readonly sha256: string;
  readonly modified: string;
  /** The bytes that lie in the pack: those of the file itself where nothing was done to it. */
  readonly stored: { readonly name: string; readonly size: number; readonly sha256: string };
  /** Entries or rows in it, null for a file that has none. */
  readonly rows: number | null;
  readonly first_index: number | null;
  readonly last_index: number | null;
  /** Indexes missing between first and last: always 0 in a log's own file. */
  readonly gaps: number | null;
  /** What was asked of the database, null for a file that is not a selection of entries. */
  readonly query: string | null;
}

/** A log's range in a pack, and what proves it: the right edge of the tree before it, and the tree heads around it. */
export interface PackLog {
  readonly origin: string;
  readonly first_index: number | null;
  readonly last_index: number | null;
  readonly count: number;
  /** `last_index` − `first_index` + 1. */
  readonly expected: number;
  readonly previous_tree_size: number;
  /** Hashes of the perfect subtrees that the previous tree consists of, left to right. */
  readonly previous_subtrees: readonly string[];
  readonly tree_size: number;
  readonly root_hash: string;
  /** `chain_hash` before the first entry and of the last one. */
  readonly chain_before: string;
  readonly chain_after: string;
}

export interface PackManifest {
  readonly format: typeof packFormat;
  readonly kind: 'DAY' | 'PARTIAL';
  readonly created_at: string;
  readonly export_date: string;
  /** From inclusive, to exclusive. */
  readonly period: { readonly from: string; readonly to: string };
  readonly generator: { readonly name: string; readonly version: string; readonly git_commit: string | null };
  readonly database: { readonly system_identifier: string; readonly lsn: string; readonly snapshot_at: string };
  readonly clock: { readonly source: string; readonly service_offset_ms: number };
  readonly logs: { readonly signals: PackLog; readonly audit: PackLog };
  readonly encoding: PackEncoding;
  /** Null where the pack is encrypted: the manifest is not, and they tell what was traded. */
  readonly totals: PackTotals | null;
  readonly anchors: readonly {
    readonly log: string;
    readonly kind: string;
    readonly target: string;
    readonly mode: string;
    readonly status: string;
    readonly reference: string | null;
  }[];
  /** Of the pack before this one: the day and the SHA-256 of its manifest file. Null for the first. */
  readonly previous_manifest: { readonly export_date: string; readonly sha256: string } | null;
  readonly files: Readonly<Record<string, PackFile>>;
  readonly summary: { readonly total_files: number; readonly total_size: number; readonly stored_size: number };
}

export interface ManifestSignature {
  /** Verifier key, `<name>+<id>+<base64>`. */
  readonly key: string;
  /** Ed25519 over the RFC 8785 form of the manifest without its signatures, base64. */
  readonly signature: string;
}

/** What is signed: the RFC 8785 form, UTF-8. */
export function manifestBytes(manifest: PackManifest): Uint8Array {
  return encodeUtf8(encodeCanonicalJson(manifest));
}

/** The file: RFC 8785 form with the signatures, and a line break. */
export function encodeManifestFile(manifest: PackManifest, signatures: readonly ManifestSignature[]): string {
  return `${encodeCanonicalJson({ ...manifest, signatures })}\n`;
}

export function encodeManifestSignature(key: string, signature: Uint8Array): ManifestSignature {
  return { key, signature: encodeBase64(signature) };
}

export function hashManifestFile(file: Uint8Array): string {
  return encodeHex(sha256(file));
}

/** What the signatures under a manifest are worth by the keys one trusts. */
export type ManifestSigner =
  | { readonly status: 'verified'; readonly keys: readonly VerifierKey[] }
  | { readonly status: 'unsigned' }
  | { readonly status: 'bad-signature' }
  | { readonly status: 'unknown-key' };

/** Reads a manifest file. Throws SyntaxError naming the first member that is not as it must be. */
export function parseManifestFile(text: string): {
  readonly manifest: PackManifest;
  readonly signatures: readonly ManifestSignature[];
} {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new SyntaxError('the manifest is not an object');
  const { signatures, ...rest } = value;
  if (`${encodeCanonicalJson(value)}\n` !== text) throw new SyntaxError('the manifest is not in RFC 8785 form');
  assertManifest(rest);
  if (signatures !== undefined && !Array.isArray(signatures)) throw new SyntaxError('signatures is not a list');
  const listed = (signatures ?? []).map((entry) => {
    if (!isObject(entry) || typeof entry['key'] !== 'string' || typeof entry['signature'] !== 'string') {
      throw new SyntaxError('a signature has no key or no signature');
    }
    return { key: entry['key'], signature: entry['signature'] };
  });
  return { manifest: rest as unknown as PackManifest, signatures: listed };
}

/** One bad signature under any key refuses the manifest. With no pinned keys a good signature is by an unknown key. */
export function judgeManifest(
  manifest: PackManifest,
  signatures: readonly ManifestSignature[],
  pinned: readonly VerifierKey[],
): ManifestSigner {
  if (signatures.length === 0) return { status: 'unsigned' };
  const bytes = manifestBytes(manifest);
  const good: VerifierKey[] = [];
  for (const { key: text, signature } of signatures.slice(0, signaturesMax)) {
    try {
      const key = parseVerifierKey(text);
      if (!verifyEd25519(key.publicKey, bytes, decodeBase64(signature))) return { status: 'bad-signature' };
      good.push(key);
    } catch (error) {
      if (error instanceof SyntaxError) return { status: 'bad-signature' };
      throw error;
    }
  }
  const trusted = good.filter((key) => pinned.some((pin) => isSameKey(pin, key)));
  return trusted.length > 0 ? { status: 'verified', keys: trusted } : { status: 'unknown-key' };
}

const signaturesMax = 100;

function isSameKey(left: VerifierKey, right: VerifierKey): boolean {
  return left.name === right.name && encodeHex(left.publicKey) === encodeHex(right.publicKey);
}

function assertManifest(value: Readonly<Record<string, unknown>>): void {
  const wrong = (member: string): never => {
    throw new SyntaxError(`${member} of the manifest is not as docs/packs.md has it`);
  };
  if (value['format'] !== packFormat) wrong('format');
  if (value['kind'] !== 'DAY' && value['kind'] !== 'PARTIAL') wrong('kind');
  if (typeof value['export_date'] !== 'string' || !/^\d{4}-\d\d-\d\d$/.test(value['export_date'])) wrong('export_date');
  const { encoding, files, logs, summary, totals, anchors, previous_manifest: previous } = value;
  if (!isPackEncoding(encoding)) return wrong('encoding');
  if (!isObject(files) || !Object.entries(files).every(([name, file]) => isPackFile(name, file, encoding))) {
    return wrong('files');
  }
  if (!isObject(logs) || !isPackLog(logs['signals']) || !isPackLog(logs['audit'])) wrong('logs');
  if (encoding.recipients.length > 0 ? totals !== null : !isObject(totals)) wrong('totals');
  if (!Array.isArray(anchors) || !anchors.every(isObject)) wrong('anchors');
  const isLink = isObject(previous) && isHash(previous['sha256']) && typeof previous['export_date'] === 'string';
  if (previous !== null && !isLink) wrong('previous_manifest');
  const sums = summarise(files as unknown as PackManifest['files']);
  const isSummary =
    isObject(summary) && Object.entries(sums).every(([member, expected]) => summary[member] === expected);
  if (!isSummary) wrong('summary');
}

/** Number and bytes of a pack's files, beside the manifest. */
export function summarise(files: PackManifest['files']): PackManifest['summary'] {
  const listed = Object.values(files);
  return {
    total_files: listed.length,
    total_size: listed.reduce((total, { size }) => total + size, 0),
    stored_size: listed.reduce((total, { stored }) => total + stored.size, 0),
  };
}

/** A plain file name: what a manifest names must not lead out of its folder. */
export function isPackFileName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name) && name !== manifestName;
}

function isPackFile(name: string, value: unknown, encoding: PackEncoding): boolean {
  if (!isPackFileName(name) || !isObject(value) || !isCount(value['size']) || !isHash(value['sha256'])) return false;
  const { stored } = value;
  if (!isObject(stored) || !isCount(stored['size']) || !isHash(stored['sha256'])) return false;
  const done = codingsOf(name, encoding);
  const isSame = stored['size'] === value['size'] && stored['sha256'] === value['sha256'];
  return stored['name'] === encodedName(name, done) && (done.length > 0 || isSame);
}

function isPackLog(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { origin, count, previous_tree_size: before, tree_size: size, previous_subtrees: subtrees } = value;
  return (
    typeof origin === 'string' &&
    isCount(count) &&
    isCount(before) &&
    isCount(size) &&
    isHash(value['root_hash']) &&
    isHash(value['chain_before']) &&
    isHash(value['chain_after']) &&
    Array.isArray(subtrees) &&
    subtrees.every(isHash)
  );
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
