import { hash } from 'node:crypto';
import { encodeCanonicalJson } from '../core/canonical-json.js';

/** What is known of a file. Only a TEXT one has its content stored, redacted. */
export const configFileStates = {
  TEXT: 'TEXT',
  BINARY: 'BINARY',
  LARGE: 'LARGE',
  SECRET: 'SECRET',
  MISSING: 'MISSING',
  UNREADABLE: 'UNREADABLE',
  REFUSED: 'REFUSED',
} as const;
export type ConfigFileState = keyof typeof configFileStates;

/** Paths of what is not a file but set elsewhere; no file may lie below this name. */
export const settingsFolder = '@daybook';

/** One file of a snapshot. Hashes are lower-case hex. */
export interface SnapshotFile {
  /** Below the root, with `/`; below `@daybook/` for what is set elsewhere. */
  readonly path: string;
  readonly state: ConfigFileState;
  /** SHA-256 of the bytes as they are; null where a secret is in them or they could not be read. */
  readonly hash: string | null;
  /** In place of the hash where a secret is in the bytes: the redactor's keyed mark of it. */
  readonly mark: string | null;
  /** In bytes; null where it is not known, or would tell about a secret. */
  readonly size: number | null;
  /** SHA-256 of the stored, redacted text. */
  readonly contentHash: string | null;
  readonly redactions: number;
  /** Why the content is not stored. */
  readonly note: string | null;
}

/** A file as it was collected: what the snapshot says of it, and the text to store. */
export interface CollectedFile {
  readonly file: SnapshotFile;
  readonly content: string | null;
}

/** A file without content. */
export function fileWithout(
  path: string,
  state: Exclude<ConfigFileState, 'TEXT'>,
  note: string,
  known: Partial<Pick<SnapshotFile, 'hash' | 'mark' | 'size'>> = {},
): CollectedFile {
  const { hash: hashed = null, mark = null, size = null } = known;
  return { file: { path, state, hash: hashed, mark, size, contentHash: null, redactions: 0, note }, content: null };
}

/** A file whose text is stored; hash or mark, and size, are of the bytes before they were redacted. */
export function fileWithText(
  path: string,
  bytes: { readonly hash: string | null; readonly mark?: string; readonly size: number },
  redacted: { readonly text: string; readonly redactions: number },
): CollectedFile {
  const contentHash = hash('sha256', redacted.text, 'hex');
  const { redactions } = redacted;
  return {
    file: { path, state: 'TEXT', mark: null, ...bytes, contentHash, redactions, note: null },
    content: redacted.text,
  };
}

/** SHA-256 over the canonical JSON of the files in the order of their paths: names the whole configuration. */
export function hashFiles(files: readonly SnapshotFile[]): string {
  return hash('sha256', encodeCanonicalJson(files), 'hex');
}

/** By code units, as the paths of a snapshot are ordered. */
export function byPath(left: { readonly path: string }, right: { readonly path: string }): number {
  return left.path < right.path ? -1 : left.path > right.path ? 1 : 0;
}

/**
 * The text that stands for a file in a diff: its content, or one line that says what is known. Null where there is none: it is
 * missing, was refused, or is a folder that could not be searched.
 */
export function textInDiff(file: SnapshotFile, content: string | null): string | null {
  if (content !== null) return content;
  if (file.state === 'MISSING' || file.state === 'REFUSED' || file.path.endsWith('/')) return null;
  const facts = [
    file.state,
    ...(file.size === null ? [] : [`${file.size} bytes`]),
    ...(file.hash === null ? [] : [`sha256 ${file.hash}`]),
    ...(file.mark === null ? [] : [file.mark]),
  ];
  return `${facts.join(', ')}\n`;
}
