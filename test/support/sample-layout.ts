import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BreakCode } from '../../src/core/log-breaks.js';
import { readFolder } from '../../src/verifier/read-folder.js';
import { verifyLayout, type LayoutOptions, type LayoutVerification } from '../../src/verifier/verify-layout.js';
import { createNoteSigner } from './note-signer.js';
import { layoutFiles, sampleBodies, writeLayout, type LayoutFiles } from './static-layout.js';

/** A log as it is published, for tests that damage it. */
export const origin = 'daybook.test/audit';
export const signer = createNoteSigner(origin, 1);
export const witness = createNoteSigner('witness.test', 2);
export const keys = [signer.key, witness.witnessKey];

/** 700 entries, six minutes apart: 240 on each of two days, 220 on the third, two full tiles and a partial one. */
export const bodies = sampleBodies(700, 360);
/** From the day before the first entry to the day after the last. */
export const rootDates = ['2026-02-28', '2026-03-01', '2026-03-02', '2026-03-03', '2026-03-04'];
export const intact = layoutFiles({ bodies, signer, rootDates, witness });

/** Layouts in folders of their own, removed at disposal. */
export interface LayoutFolders extends AsyncDisposable {
  /** Of all folders. */
  readonly path: string;
  write(files: LayoutFiles): Promise<string>;
  verify(files: LayoutFiles, options?: Partial<LayoutOptions>): Promise<LayoutVerification>;
}

export async function createLayoutFolders(): Promise<LayoutFolders> {
  const path = await mkdtemp(join(tmpdir(), 'daybook-layout-'));
  let count = 0;
  const write = async (files: LayoutFiles) => {
    count += 1;
    const folder = join(path, String(count));
    await mkdir(folder);
    await writeLayout(folder, files);
    return folder;
  };
  return {
    path,
    write,
    verify: async (files, options) => verifyFolder(await write(files), options),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

/** With the keys and the origin of the sample log. */
export async function verifyFolder(folder: string, options: Partial<LayoutOptions> = {}): Promise<LayoutVerification> {
  return verifyLayout({ reader: await readFolder(folder), keys, origin, ...options });
}

export function codesOf({ breaks }: LayoutVerification): (readonly [BreakCode, number | null])[] {
  return breaks.map(({ code, index }) => [code, index] as const);
}

export function changed(files: LayoutFiles, path: string, change: (bytes: Uint8Array) => Uint8Array): LayoutFiles {
  return new Map(files).set(path, change(files.get(path)!));
}

export function without(files: LayoutFiles, ...paths: string[]): LayoutFiles {
  return new Map([...files].filter(([path]) => !paths.includes(path)));
}
