import type { Queryable } from '../ledger/read-entries.js';
import { diffTexts, type DiffOptions, type TextDiff } from './diff-texts.js';
import { readContents, readFileLists, type ConfigSnapshotRow } from './read-snapshots.js';
import { byPath, textInDiff, type SnapshotFile } from './snapshot-file.js';

export interface SnapshotDiff extends TextDiff {
  /** One text that `git apply` takes; a line before the first file says what was compared and by what. Empty without differences. */
  readonly text: string;
}

/** What differs between two snapshots, in the texts as stored: redacted. */
export async function diffSnapshots(
  database: Queryable,
  from: ConfigSnapshotRow,
  to: ConfigSnapshotRow,
  options: DiffOptions,
): Promise<SnapshotDiff> {
  const lists = await readFileLists(database, [from.filesHash, to.filesHash]);
  const before = new Map((lists.get(from.filesHash) ?? []).map((file) => [file.path, file]));
  const after = new Map((lists.get(to.filesHash) ?? []).map((file) => [file.path, file]));
  const paths = [...new Set([...before.keys(), ...after.keys()])].map((path) => ({ path })).sort(byPath);
  const changed = paths
    .map(({ path }) => ({ path, old: before.get(path), now: after.get(path) }))
    .filter(({ old, now }) => !isEqual(old, now));
  const contents = await readContents(
    database,
    changed.flatMap(({ old, now }) => [old?.contentHash ?? [], now?.contentHash ?? []].flat()),
  );
  const shown = (file: SnapshotFile | undefined) =>
    file === undefined ? null : textInDiff(file, contents.get(file.contentHash ?? '') ?? null);
  const diff = await diffTexts(
    changed.map(({ path, old, now }) => ({ path, before: shown(old), after: shown(now) })),
    options,
  );
  const sections = paths.flatMap(({ path }) => diff.diffs.get(path) ?? []);
  const title = `Configuration snapshots ${from.id} (${from.takenAt}) and ${to.id} (${to.takenAt}), diff made by ${diff.madeBy}\n`;
  return { ...diff, text: sections.length === 0 ? '' : `${title}${sections.join('')}` };
}

function isEqual(old: SnapshotFile | undefined, now: SnapshotFile | undefined): boolean {
  if (old === undefined || now === undefined) return false;
  return (
    old.state === now.state && old.hash === now.hash && old.mark === now.mark && old.contentHash === now.contentHash
  );
}
