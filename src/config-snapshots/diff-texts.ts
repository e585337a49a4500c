import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { structuredPatch, type StructuredPatch } from 'diff';

/** How long git may take, in milliseconds, and how much it may print, in bytes. */
const gitTimeoutMs = 30_000;
const gitOutputBytesMax = 256 * 1024 * 1024;
/** How long the library looks for the shortest diff of one file before it gives the whole file as changed. */
const libraryTimeoutMs = 5_000;
/** Where git is looked for where no path is given. Not the caller's PATH: that may hold folders others write to. */
const programFolders = '/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/opt/local/bin';

/** A file on both sides of a diff; null where it is not there. Texts hold no NUL. */
export interface TextPair {
  /** With `/`, without quotes, backslashes and control characters. */
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
}

export interface DiffOptions {
  /** Unchanged lines around each change. */
  readonly contextLines: number;
  /** Absolute path of git, `off` for none, or undefined to look where programs are installed. */
  readonly git: string | undefined;
}

export interface TextDiff {
  /** Diff by path, in git's unified form with `a/` and `b/` before the names; only what differs. */
  readonly diffs: ReadonlyMap<string, string>;
  /** As in `git version 2.47.1`, or `diff (npm)`. */
  readonly madeBy: string;
}

/** Diffs of pairs of texts: git's, or where there is no git that works, the same form made by the package `diff`. */
export async function diffTexts(pairs: readonly TextPair[], options: DiffOptions): Promise<TextDiff> {
  const changed = pairs.filter(({ before, after }) => before !== after);
  const byGit = options.git === 'off' ? null : await diffByGit(changed, options);
  return byGit ?? diffByLibrary(changed, options);
}

/**
 * Runs `git diff --no-index` on two folders with the texts. Nothing of the machine's configuration takes part: no settings, no
 * attributes, no external programs, no repository above the folder. Null where git is not there or fails.
 */
async function diffByGit(
  pairs: readonly TextPair[],
  { contextLines, git = 'git' }: DiffOptions,
): Promise<TextDiff | null> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'daybook-diff-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const home = join(folder, 'home');
  const work = join(folder, 'work');
  await Promise.all([home, join(work, 'a'), join(work, 'b')].map((path) => mkdir(path, { recursive: true })));
  try {
    for (const { path, before, after } of pairs) {
      await writeText(join(work, 'a', path), before);
      await writeText(join(work, 'b', path), after);
    }
  } catch (error) {
    // No room, a name too long, or a file that is a folder to another: the library needs none of it.
    if (typeof (error as NodeJS.ErrnoException).code === 'string') return null;
    throw error;
  }
  const run = (...args: string[]) => runGit(git, args, work, home);
  const version = await run('--version');
  if (version === null || version.code !== 0) return null;
  const options = [
    '--no-ext-diff',
    '--no-textconv',
    '--no-color',
    '--no-renames',
    '--text',
    '--full-index',
    '--no-prefix',
  ];
  const output = await run(
    ...['--no-pager', '-c', 'core.quotePath=false', '-c', 'core.autocrlf=false', '-c', 'diff.algorithm=myers'],
    ...['diff', '--no-index', ...options, `--unified=${contextLines}`, 'a', 'b'],
  );
  // 1 says that there are differences.
  if (output === null || output.code > 1) return null;
  return { diffs: splitDiff(output.stdout), madeBy: version.stdout.trim() };
}

async function writeText(path: string, text: string | null): Promise<void> {
  if (text === null) return;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text, { mode: 0o644 });
}

/** Exit code and output; null where the program could not be run to its end. */
function runGit(
  git: string,
  args: readonly string[],
  folder: string,
  home: string,
): Promise<{ readonly code: number; readonly stdout: string } | null> {
  const env = {
    PATH: programFolders,
    HOME: home,
    XDG_CONFIG_HOME: home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_CEILING_DIRECTORIES: dirname(folder),
    GIT_PAGER: 'cat',
    GIT_TERMINAL_PROMPT: '0',
  };
  const limits = { timeout: gitTimeoutMs, maxBuffer: gitOutputBytesMax };
  return new Promise((resolve) => {
    execFile(git, [...args], { cwd: folder, env, encoding: 'utf8', ...limits }, (error, stdout) => {
      if (error === null) resolve({ code: 0, stdout });
      else resolve(typeof error.code === 'number' ? { code: error.code, stdout } : null);
    });
  });
}

/** Git names a file that is on one side only by that side twice: the header gets both names, as between two commits. */
function splitDiff(output: string): Map<string, string> {
  const sections = output.split(/^(?=diff --git )/m).filter((section) => section !== '');
  return new Map(
    sections.map((section) => {
      const end = section.indexOf('\n');
      const names = section.slice('diff --git '.length, end);
      // Two names of equal length with a blank between them, each behind `a/` or `b/`.
      const path = names.slice(2, (names.length - 1) / 2);
      return [path, `diff --git a/${path} b/${path}${section.slice(end)}`];
    }),
  );
}

function diffByLibrary(pairs: readonly TextPair[], { contextLines }: DiffOptions): TextDiff {
  const diffs = pairs.map((pair) => [pair.path, formatGitDiff(pair, patchOf(pair, contextLines))] as const);
  return { diffs: new Map(diffs), madeBy: 'diff (npm)' };
}

function patchOf({ path, before, after }: TextPair, contextLines: number): StructuredPatch {
  const [old, now] = [before ?? '', after ?? ''];
  const patch = (context: number, timeout?: number) =>
    structuredPatch(path, path, old, now, undefined, undefined, {
      context,
      ...(timeout === undefined ? {} : { timeout }),
    });
  const found = patch(contextLines, libraryTimeoutMs);
  if (found !== undefined) return found;
  const removed = structuredPatch(path, path, old, '', undefined, undefined, { context: 0 }).hunks[0];
  const added = structuredPatch(path, path, '', now, undefined, undefined, { context: 0 }).hunks[0];
  const lines = [...(removed?.lines ?? []), ...(added?.lines ?? [])];
  const sizes = { oldLines: removed?.oldLines ?? 0, newLines: added?.newLines ?? 0 };
  return { ...emptyPatch(path), hunks: [{ oldStart: 1, newStart: 1, ...sizes, lines }] };
}

function emptyPatch(path: string): StructuredPatch {
  return { oldFileName: path, newFileName: path, oldHeader: undefined, newHeader: undefined, hunks: [] };
}

/** A patch as git prints it. */
function formatGitDiff({ path, before, after }: TextPair, { hunks }: StructuredPatch): string {
  const mode = before === null ? 'new file mode 100644\n' : after === null ? 'deleted file mode 100644\n' : '';
  const index = `index ${blobName(before)}..${blobName(after)}${mode === '' ? ' 100644' : ''}\n`;
  // A blank in a name is followed by a tab, for programs that read a date there.
  const named = (side: string) => `${side}/${path}${path.includes(' ') ? '\t' : ''}`;
  const oldLines = (before ?? '').split('\n');
  const body = hunks.map((hunk) => {
    const heading = headingBefore(oldLines, hunk.oldStart - (hunk.oldLines === 0 ? 0 : 1));
    const ranges = `-${rangeOf(hunk.oldStart, hunk.oldLines)} +${rangeOf(hunk.newStart, hunk.newLines)}`;
    return `@@ ${ranges} @@${heading}\n${hunk.lines.join('\n')}\n`;
  });
  const names = `--- ${before === null ? '/dev/null' : named('a')}\n+++ ${after === null ? '/dev/null' : named('b')}\n`;
  return `diff --git a/${path} b/${path}\n${mode}${index}${body.length === 0 ? '' : names}${body.join('')}`;
}

/** Git's own name of a content; zeros for a file that is not there. */
function blobName(text: string | null): string {
  if (text === null) return '0'.repeat(40);
  const bytes = Buffer.from(text);
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

function rangeOf(start: number, lines: number): string {
  // An empty range stands behind the line before it.
  const shown = lines === 0 ? start - 1 : start;
  return lines === 1 ? String(shown) : `${shown},${lines}`;
}

/** The last line above a hunk that begins with a letter, as git shows it behind the ranges, in at most 80 bytes. */
function headingBefore(lines: readonly string[], linesAbove: number): string {
  for (let place = linesAbove - 1; place >= 0; place -= 1) {
    const line = lines[place] ?? '';
    if (!/^[A-Za-z_$]/.test(line)) continue;
    return ` ${Buffer.from(line)
      .subarray(0, 80)
      .toString()
      .replace(/\uFFFD$/, '')
      .trimEnd()}`;
  }
  return '';
}
