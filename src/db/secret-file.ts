import { randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

const SECRET_BYTES = 32;

/** The secret kept in `path`, or null where there is none. Throws what the file system says when it cannot be read. */
export async function readSecretFile(path: string): Promise<string | null> {
  try {
    const secret = (await readFile(path, 'utf8')).trim();
    return secret === '' ? null : secret;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') {
      return null;
    }
    throw err;
  }
}

/**
 * Reads the secret kept in `path`, mode 0600, or makes one of 256 bits, base64url. It is on disk before this returns, and
 * of two processes that make it at the same time both get the same one. A crash leaves at most an unused temporary file.
 */
export async function readOrCreateSecretFile(path: string): Promise<string> {
  const present = await readSecretFile(path);
  if (present !== null) {
    return present;
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  const temporary = `${path}.${randomUUID()}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(randomBytes(SECRET_BYTES).toString('base64url'));
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    // link() refuses an existing target, where rename() would replace the secret another process just made.
    await link(temporary, path);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw err;
    }
  } finally {
    await rm(temporary);
  }
  return (await readFile(path, 'utf8')).trim();
}
