import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { diffTexts, type TextPair } from '../../src/config-snapshots/diff-texts.js';

const run = promisify(execFile);
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daybook-diff-test-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const long = Array.from({ length: 60 }, (_, number) => `line ${number}`).join('\n');
const pairs: TextPair[] = [
  { path: 'added', before: null, after: 'one\ntwo\n' },
  { path: 'added empty', before: null, after: '' },
  { path: 'removed/deep/file.ini', before: '[a]\nb=1\n', after: null },
  {
    path: 'changed.yaml',
    before: `top:\n${long}\n`,
    after: `top:\n${long.replace('line 3\n', '').replace('line 40', 'LINE')}\n`,
  },
  { path: 'without last line break', before: 'a\nb', after: 'a\nb\nc' },
  { path: 'with carriage returns.txt', before: 'a\r\nb\r\n', after: 'a\r\nc\r\n' },
  { path: 'name with blanks and é', before: 'x\n', after: 'y\n' },
  { path: 'looks/like/a/diff', before: '-- a/x\n++ b/x\ndiff --git a/q b/q\n', after: '-- a/y\n++ b/x\n@@ -1 +1 @@\n' },
  { path: 'same', before: 'same\n', after: 'same\n' },
];

/** Lays the texts of one side down as files. */
async function layDown(side: 'before' | 'after', name: string, of: readonly TextPair[] = pairs): Promise<string> {
  const root = join(folder, name);
  await mkdir(root);
  for (const pair of of) {
    const text = pair[side];
    if (text === null) continue;
    await mkdir(join(root, dirname(pair.path)), { recursive: true });
    await writeFile(join(root, pair.path), text);
  }
  return root;
}

async function readTree(root: string): Promise<Record<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const texts = await Promise.all(files.map(async (file) => [file.slice(root.length), await readFile(file, 'utf8')]));
  return Object.fromEntries(texts) as Record<string, string>;
}

async function applyDiff(root: string, diff: string): Promise<void> {
  const patch = `${root}.patch`;
  await writeFile(patch, `A line that says what made it\n${diff}`);
  await run('git', ['apply', '--unidiff-zero', '--whitespace=nowarn', patch], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: folder, GIT_CEILING_DIRECTORIES: folder },
  });
}

const git = { contextLines: 3, git: undefined };
const library = { contextLines: 3, git: 'off' };

describe.each([0, 1, 3, 20])('with %i lines of context', (contextLines) => {
  test('git and the library make the same diff of the same texts, byte by byte', async () => {
    const byGit = await diffTexts(pairs, { ...git, contextLines });
    const byLibrary = await diffTexts(pairs, { ...library, contextLines });
    expect(byGit.madeBy).toMatch(/^git version 2/);
    expect(byLibrary.madeBy).toBe('diff (npm)');
    expect(Object.fromEntries(byLibrary.diffs)).toEqual(Object.fromEntries(byGit.diffs));
    expect([...byGit.diffs.keys()].sort()).toEqual(
      pairs
        .slice(0, -1)
        .map(({ path }) => path)
        .sort(),
    );
  });

  test.each([
    ['git', git],
    ['the library', library],
  ])('git apply makes the later texts from the earlier ones with the diff of %s', async (_, options) => {
    const { diffs } = await diffTexts(pairs, { ...options, contextLines });
    const root = await layDown('before', 'tree');
    await applyDiff(root, [...diffs.values()].join(''));
    expect(await readTree(root)).toEqual(await readTree(await layDown('after', 'wanted')));
  });
});

test('git apply takes the diff of the library for whatever texts', async () => {
  const line = fc.constantFrom('a', 'b', 'c', '', '  d', '-e', '+f');
  const text = fc.array(line, { maxLength: 12 }).map((lines) => lines.join('\n'));
  let trees = 0;
  await fc.assert(
    fc.asyncProperty(text, text, fc.nat(4), async (before, after, contextLines) => {
      const pair = [{ path: 'file', before, after }];
      const { diffs } = await diffTexts(pair, { contextLines, git: 'off' });
      const root = await layDown('before', `tree-${(trees += 1)}`, pair);
      if (before !== after) await applyDiff(root, diffs.get('file') ?? '');
      expect(await readFile(join(root, 'file'), 'utf8')).toBe(after);
    }),
    { numRuns: 60 },
  );
});

test('the settings of user and machine do not reach git', async () => {
  const home = join(folder, 'home');
  await mkdir(home);
  await writeFile(join(home, '.gitconfig'), '[diff]\n\tnoprefix = true\n\texternal = false\n\tmnemonicPrefix = true\n');
  const before = process.env;
  process.env = { ...before, HOME: home, GIT_EXTERNAL_DIFF: 'false', GIT_CONFIG_GLOBAL: join(home, '.gitconfig') };
  try {
    const { diffs, madeBy } = await diffTexts([{ path: 'x', before: '1\n', after: '2\n' }], git);
    expect(madeBy).toMatch(/^git/);
    expect(diffs.get('x')).toContain('diff --git a/x b/x\n');
    expect(diffs.get('x')).toContain('\n-1\n+2\n');
  } finally {
    process.env = before;
  }
});

test('attributes among the compared files do not hide a difference', async () => {
  const attributes = '* -diff binary\n';
  const { diffs } = await diffTexts(
    [
      { path: '.gitattributes', before: attributes, after: `${attributes}#\n` },
      { path: 'x', before: '1\n', after: '2\n' },
    ],
    git,
  );
  expect(diffs.get('x')).toContain('\n-1\n+2\n');
});

test.each(['/nowhere/git', '/bin/false'])('where git is %s the library makes the diff', async (path) => {
  const { diffs, madeBy } = await diffTexts([{ path: 'x', before: '1\n', after: '2\n' }], {
    contextLines: 3,
    git: path,
  });
  expect(madeBy).toBe('diff (npm)');
  expect(diffs.get('x')).toContain('\n-1\n+2\n');
});

test('a large text of which nothing is the same has its diff in time', async () => {
  const text = (name: string) => Array.from({ length: 30_000 }, (_, number) => `${name} ${number * 7919}`).join('\n');
  const pair = [{ path: 'large', before: `${text('a')}\n`, after: `${text('b')}\n` }];
  const { diffs } = await diffTexts(pair, library);
  const root = await layDown('before', 'tree', pair);
  await applyDiff(root, diffs.get('large') ?? '');
  expect(await readFile(join(root, 'large'), 'utf8')).toBe(pair[0]!.after);
});
