import { mkdtemp, open, readFile, rm, stat, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { CheckpointFiles } from '../../src/proofs/known-checkpoints.js';

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'daybook-files-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Inodes of what was flushed while `work` ran, in order, each with the one that `path` led to by then; 0 for none. */
async function flushedBy(path: string, work: () => Promise<void>): Promise<number[][]> {
  const probe = await open(root, 'r');
  const prototype = Object.getPrototypeOf(probe) as Pick<FileHandle, 'sync'>;
  await probe.close();
  const flushed: number[][] = [];
  const { sync } = prototype;
  prototype.sync = async function (this: FileHandle) {
    await sync.call(this);
    flushed.push([(await this.stat()).ino, await inodeOf(path)]);
  };
  try {
    await work();
  } finally {
    prototype.sync = sync;
  }
  return flushed;
}

async function inodeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => ({ ino: 0 }))).ino;
}

test.each([
  ['given in full', () => root],
  ['relative to the working directory', () => relative(process.cwd(), root)],
])('a note is flushed, and so is every folder with a new name in it, its path %s', async (_, rootPath) => {
  const files = new CheckpointFiles(join(rootPath(), 'published', 'store'));
  const path = files.pathOf('audit');
  const folder = join(root, 'published', 'store');
  const first = await flushedBy(path, () => files.write('audit', 'first'));
  const firstFile = await inodeOf(path);
  expect(first).toEqual([
    [firstFile, 0],
    [await inodeOf(folder), firstFile],
    [await inodeOf(join(root, 'published')), firstFile],
    [await inodeOf(root), firstFile],
  ]);
  const second = await flushedBy(path, () => files.write('audit', 'second'));
  const secondFile = await inodeOf(path);
  expect(second).toEqual([
    [secondFile, firstFile],
    [await inodeOf(folder), secondFile],
  ]);
  expect(await readFile(path, 'utf8')).toBe('second');
  expect(await files.read('audit')).toBe('second');
  expect(await files.read('signals')).toBeNull();
});
