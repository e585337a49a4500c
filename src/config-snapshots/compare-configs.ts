import { hash } from 'node:crypto';
import { parseSettings, settingsFiles } from './collect-config.js';
import type { SnapshotFile } from './snapshot-file.js';

/** A difference between two snapshots: of a file, or of one setting. */
export interface ConfigChange {
  /** Path of the file, or of the list that the setting stands in. */
  readonly path: string;
  /** Name of the setting; null where the file changed. */
  readonly setting: string | null;
  readonly before: ChangedSide;
  readonly after: ChangedSide;
}

/** One side of a change. */
interface ChangedSide {
  /** SHA-256 as lower-case hex, the keyed mark of a secret file, or null where nothing is there or it cannot be read. */
  readonly hash: string | null;
  /** As in `TEXT`; null where there is no such file or setting. */
  readonly state: string | null;
  /** The setting's value, redacted; null for files. */
  readonly value: string | null;
}

/** The files of a snapshot and the stored texts of those that the comparison asks for. */
export interface ComparedConfig {
  readonly files: readonly SnapshotFile[];
  readonly contentOf: (file: SnapshotFile) => string | null;
}

const settingsPaths: ReadonlySet<string> = new Set(Object.values(settingsFiles));
const absent: ChangedSide = { hash: null, state: null, value: null };

/** Everything that differs, in the order of paths and names. A file that was missing and is no longer asked for does not. */
export function compareConfigs(before: ComparedConfig, after: ComparedConfig): ConfigChange[] {
  const earlier = new Map(before.files.map((file) => [file.path, file]));
  const later = new Map(after.files.map((file) => [file.path, file]));
  const paths = [...new Set([...earlier.keys(), ...later.keys()])].sort();
  return paths.flatMap((path) => {
    const [old, now] = [earlier.get(path), later.get(path)];
    if (isSame(old, now)) return [];
    if (settingsPaths.has(path)) return compareSettings(path, textOf(before, old), textOf(after, now));
    return [{ path, setting: null, before: sideOf(old), after: sideOf(now) }];
  });
}

function isSame(old: SnapshotFile | undefined, now: SnapshotFile | undefined): boolean {
  if (isAbsent(old) && isAbsent(now)) return true;
  return old?.state === now?.state && old?.hash === now?.hash && old?.mark === now?.mark && old?.size === now?.size;
}

function isAbsent(file: SnapshotFile | undefined): boolean {
  return file === undefined || file.state === 'MISSING';
}

function textOf(config: ComparedConfig, file: SnapshotFile | undefined): string {
  return (file === undefined ? null : config.contentOf(file)) ?? '';
}

function sideOf(file: SnapshotFile | undefined): ChangedSide {
  return file === undefined ? absent : { hash: file.hash ?? file.mark, state: file.state, value: null };
}

function compareSettings(path: string, before: string, after: string): ConfigChange[] {
  const [earlier, later] = [parseSettings(before), parseSettings(after)];
  const names = [...new Set([...earlier.keys(), ...later.keys()])].sort();
  return names
    .filter((name) => earlier.get(name) !== later.get(name))
    .map((name) => ({
      path,
      setting: name,
      before: settingSide(earlier.get(name)),
      after: settingSide(later.get(name)),
    }));
}

/** The hash is of the redacted value, so that no secret can be guessed from it. */
function settingSide(value: string | undefined): ChangedSide {
  return value === undefined ? absent : { hash: hash('sha256', value, 'hex'), state: 'TEXT', value };
}
