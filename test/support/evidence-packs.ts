import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import {
  encodeManifestFile,
  encodeManifestSignature,
  manifestBytes,
  manifestName,
  parseManifestFile,
  summarise,
  type ManifestSignature,
  type PackManifest,
} from '../../src/core/pack-manifest.js';
import { encodeVerifierKey, verifierKeyOf } from '../../src/core/verifier-key.js';

/** A folder that goes with the test. */
export async function createFolder(name: string): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), `daybook-${name}-`));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function copyPack(pack: string, to: string): Promise<string> {
  await cp(pack, to, { recursive: true });
  return to;
}

export async function readManifest(pack: string): Promise<ReturnType<typeof parseManifestFile>> {
  return parseManifestFile(await readFile(join(pack, manifestName), 'utf8'));
}

export async function writeManifest(
  pack: string,
  manifest: PackManifest,
  signatures: readonly ManifestSignature[],
): Promise<void> {
  await writeFile(join(pack, manifestName), encodeManifestFile(manifest, signatures));
}

/** Signs as somebody who has no key of the ledger, under the ledger's own name. */
export function signAsStranger(name: string, manifest: PackManifest): ManifestSignature[] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(12);
  const key = encodeVerifierKey(verifierKeyOf(name, Uint8Array.from(raw)));
  return [encodeManifestSignature(key, sign(null, manifestBytes(manifest), privateKey))];
}

/** The manifest with one file's size and hash, and what depends on them, as a forger would put them right. */
export function withFile(manifest: PackManifest, name: string, bytes: Buffer, rows?: number): PackManifest {
  const before = manifest.files[name];
  if (before === undefined) throw new Error(`the manifest has no ${name}`);
  const facts = { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  const file = { ...before, ...facts, stored: { name, ...facts }, ...(rows === undefined ? {} : { rows }) };
  const files = { ...manifest.files, [name]: file };
  return { ...manifest, files, summary: summarise(files) };
}
