import type { Dirent } from 'node:fs';
import { lstat, readdir, realpath } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { expandBraces, parsePattern, splitPatterns, type GlobSegment } from './glob-pattern.js';
import { settingsFolder } from './snapshot-file.js';

/** Most files of one snapshot, and most names that are looked at to find them: a pattern may be wider than was meant. */
const filesMax = 1_000;
const namesLookedAtMax = 50_000;

export interface FindOptions {
  /** Absolute folder that no file may lie outside of. */
  readonly root: string;
  /** `DAYBOOK_CONFIG_FILES` as it stands. */
  readonly patterns: string;
  /** Absolute folder that is never read: it holds the service's own secrets. */
  readonly dataDir: string;
}

/** A file to read. `path`: as the snapshot names it; `location`: absolute. */
export interface FoundFile {
  readonly path: string;
  readonly location: string;
}

export interface FoundFiles {
  readonly files: readonly FoundFile[];
  /** What was not looked at, and why: patterns that lead out of the root or match too much, folders that cannot be read. */
  readonly refused: readonly {
    readonly path: string;
    readonly state: 'UNREADABLE' | 'REFUSED';
    readonly note: string;
  }[];
}

/**
 * The files that a list of paths and patterns names. A path without wildcards is named even where nothing is there. `*` and `?` stay
 * within a name, `**` takes folders in; neither takes names that begin with a dot, nor `node_modules`, and `**` follows no link.
 */
export async function findConfigFiles(options: FindOptions): Promise<FoundFiles> {
  const search = new Search(options);
  for (const pattern of splitPatterns(options.patterns)) {
    const expanded = expandBraces(pattern);
    if (expanded === null) search.refuse(pattern, 'its braces stand for too many paths');
    for (const one of expanded ?? []) await search.find(one);
  }
  return search.found;
}

/** The name of a path in snapshots: control characters, quotes, backslashes and percent signs as %XX, so that diffs need none. */
function encodePath(path: string): string {
  // eslint-disable-next-line no-control-regex
  return path.toWellFormed().replaceAll(/[\u0000-\u001f\u007f"\\%]/g, (letter) => {
    return `%${letter.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`;
  });
}

/** Whether a path lies in a folder or is the folder. Both absolute and without links. */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}

class Search {
  readonly #files = new Map<string, FoundFile>();
  readonly #refused = new Map<string, FoundFiles['refused'][number]>();
  #lookedAt = 0;
  #full = false;

  constructor(private readonly options: FindOptions) {}

  get found(): FoundFiles {
    return { files: [...this.#files.values()], refused: [...this.#refused.values()] };
  }

  refuse(path: string, note: string, state: 'UNREADABLE' | 'REFUSED' = 'REFUSED'): void {
    const name = encodePath(path);
    this.#refused.set(name, { path: name, state, note });
  }

  async find(pattern: string): Promise<void> {
    const segments = parsePattern(pattern, this.options.root);
    const literal = segments.findIndex((segment) => segment === 'any-folders' || !('name' in segment));
    const names = segments.slice(0, literal === -1 ? segments.length : literal) as { readonly name: string }[];
    const start = join(sep, ...names.map(({ name }) => name));
    if (!isInside(start, this.options.root)) {
      this.refuse(pattern, 'lies outside DAYBOOK_CONFIG_ROOT');
      return;
    }
    if (literal === -1) this.#add(start);
    else if (await this.#staysInside(start)) await this.#walk(start, segments.slice(literal));
    if (this.#full) this.refuse(pattern, `matches more than is read: ${filesMax} files, ${namesLookedAtMax} names`);
    this.#full = false;
  }

  /** A folder that a link leads out of the root is not searched. */
  async #staysInside(folder: string): Promise<boolean> {
    try {
      const [real, root] = [await realpath(folder), await realpath(this.options.root)];
      if (isInside(real, root)) return true;
      this.refuse(this.#folderName(folder), 'a link leads out of DAYBOOK_CONFIG_ROOT');
    } catch (error) {
      // Nothing there: nothing matches.
      if (!isAbsent(error)) this.refuse(this.#folderName(folder), codeOf(error), 'UNREADABLE');
    }
    return false;
  }

  async #walk(folder: string, [segment, ...rest]: readonly GlobSegment[]): Promise<void> {
    if (segment === undefined || this.#full || isInside(folder, this.options.dataDir)) return;
    if (segment === 'any-folders') {
      await this.#walk(folder, rest.length === 0 ? [{ matches: /^(?!\.)/ }] : rest);
      for (const entry of await this.#list(folder)) {
        const hidden = entry.name.startsWith('.') || entry.name === 'node_modules';
        if (entry.isDirectory() && !hidden) await this.#walk(join(folder, entry.name), [segment, ...rest]);
      }
      return;
    }
    if ('name' in segment) {
      await this.#step(join(folder, segment.name), rest);
      return;
    }
    for (const entry of await this.#list(folder)) {
      if (!segment.matches.test(entry.name) || entry.name === 'node_modules') continue;
      if (rest.length > 0 && entry.isDirectory()) await this.#walk(join(folder, entry.name), rest);
      else if (rest.length === 0 && !entry.isDirectory()) this.#add(join(folder, entry.name));
    }
  }

  /** A literal name behind a wildcard: matches only where something is there. */
  async #step(path: string, rest: readonly GlobSegment[]): Promise<void> {
    const found = await lstat(path).catch(() => null);
    if (found === null) return;
    if (rest.length === 0 && !found.isDirectory()) this.#add(path);
    else if (rest.length > 0 && found.isDirectory()) await this.#walk(path, rest);
  }

  async #list(folder: string): Promise<Dirent[]> {
    if (this.#lookedAt >= namesLookedAtMax) this.#full = true;
    if (this.#full) return [];
    try {
      const entries = await readdir(folder, { withFileTypes: true });
      this.#lookedAt += entries.length;
      return entries.sort((left, right) => (left.name < right.name ? -1 : 1));
    } catch (error) {
      if (!isAbsent(error)) this.refuse(this.#folderName(folder), codeOf(error), 'UNREADABLE');
      return [];
    }
  }

  /** With a slash at its end, which no file has. */
  #folderName(folder: string): string {
    return `${relative(this.options.root, folder) || '.'}/`;
  }

  #add(location: string): void {
    const path = encodePath(relative(this.options.root, location));
    if (path === '' || path === settingsFolder || path.startsWith(`${settingsFolder}/`)) {
      this.refuse(`./${path}`, path === '' ? 'is a folder' : `${settingsFolder} is the name of what is set elsewhere`);
    } else if (this.#files.has(path)) return;
    else if (this.#files.size >= filesMax) this.#full = true;
    else this.#files.set(path, { path, location });
  }
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(codeOf(error));
}

/** As in EACCES. */
export function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : 'unknown';
}
