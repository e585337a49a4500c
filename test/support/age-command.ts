import { execFile, execFileSync } from 'node:child_process';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';

const run = promisify(execFile);

/** The age of its own makers, a program apart from the library that packs are encrypted with. */
export const hasAge = isInstalled();

if (!hasAge) {
  // eslint-disable-next-line no-console -- a suite that is left out says so where nobody can miss it
  console.warn('LEFT OUT: tests that open packs with the age command, which is missing (apt-get install age).');
}

export interface AgeKey {
  /** `age1…` */
  readonly recipient: string;
  /** A file such as age-keygen writes. */
  readonly file: string;
}

export async function createAgeKey(folder: string, name: string): Promise<AgeKey> {
  const identity = await generateX25519Identity();
  const recipient = await identityToRecipient(identity);
  const file = join(folder, `${name}.txt`);
  await writeFile(file, `# created: 2026-11-20T00:00:00Z\n# public key: ${recipient}\n${identity}\n`, { mode: 0o600 });
  return { recipient, file };
}

/** Replaces each encrypted file of a pack by what `age -d` gives. */
export async function decryptWithAge(pack: string, key: AgeKey): Promise<void> {
  for (const name of (await readdir(pack)).filter((each) => each.endsWith('.age'))) {
    const path = join(pack, name);
    // With --output it makes no file of an empty one.
    const options = { encoding: 'buffer', maxBuffer: 2 ** 26 } as const;
    const { stdout } = await run('age', ['--decrypt', '--identity', key.file, path], options);
    await writeFile(path.slice(0, -'.age'.length), stdout);
    await rm(path);
  }
}

/** Writes a file encrypted by the age command. */
export async function encryptWithAge(path: string, plain: string, recipient: string): Promise<void> {
  await writeFile(`${path}.plain`, plain);
  await run('age', ['--encrypt', '--recipient', recipient, '--output', path, `${path}.plain`]);
}

function isInstalled(): boolean {
  try {
    execFileSync('age', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
