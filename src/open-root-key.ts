import { join } from 'node:path';
import { localRootKey, type RootKey } from './access/root-key.js';
import type { Config } from './config.js';
import { readOrCreateSecretFile } from './db/secret-file.js';
import { DaybookError } from './errors.js';

/** The root key of this node: 32 bytes from the environment, or from the data folder, where they are made on the first start. */
export async function openRootKey({ masterKey, dataDir }: Pick<Config, 'masterKey' | 'dataDir'>): Promise<RootKey> {
  if (masterKey !== undefined) return localRootKey(Buffer.from(masterKey, 'hex'));
  const path = join(dataDir, 'master.key');
  const key = Buffer.from(await readOrCreateSecretFile(path), 'base64url');
  if (key.length !== 32) {
    throw new DaybookError('CONFIG_INVALID', `${path} must hold 32 bytes as base64url: restore it from your backup`);
  }
  return localRootKey(key);
}
