import { join } from 'node:path';
import { kmsRootKey } from './access/kms-root-key.js';
import { localRootKey, withFormerRootKeys, type RootKey } from './access/root-key.js';
import type { Config } from './config.js';
import { readOrCreateSecretFile, readSecretFile } from './db/secret-file.js';
import { DaybookError } from './errors.js';

const keyBytes = 32;

/**
 * The root key of this node: a key of AWS KMS where one is named, else 32 bytes from the environment or the data folder, where they
 * are made on the first start. What is there beside it, and what is named as former, unwraps on.
 */
export async function openRootKey({ rootKey, dataDir }: Pick<Config, 'rootKey' | 'dataDir'>): Promise<RootKey> {
  const { masterKey, kms, former } = rootKey;
  const path = join(dataDir, 'master.key');
  const isLocal = masterKey === undefined && kms === undefined;
  const kept = isLocal ? await readOrCreateSecretFile(path) : await readSecretFile(path);
  const local = [
    ...(masterKey === undefined ? [] : [ofHex(masterKey)]),
    ...(kept === null ? [] : [ofFile(path, kept)]),
    ...(former.masterKey === undefined ? [] : [ofHex(former.masterKey)]),
  ];
  const inOrder = [
    ...(kms === undefined ? [] : [kmsRootKey(kms)]),
    ...local,
    ...(former.kms === undefined ? [] : [kmsRootKey(former.kms)]),
  ];
  const [current, ...others] = inOrder;
  if (current === undefined) throw new TypeError('there is no root key');
  return withFormerRootKeys(current, others);
}

function ofHex(text: string): RootKey {
  return localAndWiped(Buffer.from(text, 'hex'));
}

function ofFile(path: string, text: string): RootKey {
  const key = Buffer.from(text, 'base64url');
  if (key.length === keyBytes) return localAndWiped(key);
  throw new DaybookError(
    'CONFIG_INVALID',
    `${path} must hold ${keyBytes} bytes as base64url: restore it from your backup`,
  );
}

function localAndWiped(key: Buffer): RootKey {
  const root = localRootKey(key);
  key.fill(0);
  return root;
}
