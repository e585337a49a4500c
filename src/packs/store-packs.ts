import { createReadStream } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import { timestampFromMs } from '../core/timestamp.js';
import { manifestName, parseManifestFile, type PackManifest } from '../core/pack-manifest.js';
import { DaybookError } from '../errors.js';
import type { ObjectStore } from '../storage/object-store.js';
import { packObjectKey, packObjectKeys, partBytesMax, readStoredFile } from './pack-objects.js';
import { dayAfter } from './pack-range.js';

export interface PackStoreOptions {
  readonly store: ObjectStore;
  /** Folder of all packs on this node. */
  readonly folder: string;
  /** How long packs are locked in a store that can lock, in days. */
  readonly lockDays: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Copies every day's pack of this node that the object store does not hold yet, the manifest last: a pack is there once its
 * manifest is. A crash leaves parts that the next run writes again. Returns the days copied.
 */
export async function storePacks(options: PackStoreOptions, signal: AbortSignal): Promise<string[]> {
  const stored: string[] = [];
  for (const date of await listLocalDays(options.folder)) {
    signal.throwIfAborted();
    if ((await options.store.read(packObjectKey(date, manifestName))) !== null) continue;
    await storePack(options, date, signal);
    options.log.info({ date, store: options.store.description }, 'an evidence pack was stored');
    stored.push(date);
  }
  return stored;
}

export interface PackRemoval extends PackStoreOptions {
  readonly keepDays: number;
  /** A day that stays however long ago it was. */
  readonly spare?: string;
}

/**
 * Removes packs of days longer than `keepDays` ago from this node, those alone that the store gives back whole. Returns their
 * days.
 */
export async function removeStoredPacks(options: PackRemoval, today: string): Promise<string[]> {
  const removed: string[] = [];
  for (const date of await listLocalDays(options.folder)) {
    if (date >= dayAfter(today, -options.keepDays) || date === options.spare) continue;
    const manifest = await readFile(join(options.folder, date, manifestName));
    const fault = await findFault(options.store, date, manifest);
    if (fault !== null) {
      options.log.error({ date, fault, store: options.store.description }, 'a pack is not in the store as it was made');
      continue;
    }
    await rm(join(options.folder, date), { recursive: true });
    removed.push(date);
  }
  return removed;
}

/** Why the store does not hold a pack as its manifest on this node names it; null where it does. Reads all of it. */
async function findFault(store: ObjectStore, date: string, manifestFile: Buffer): Promise<string | null> {
  const kept = await store.read(packObjectKey(date, manifestName));
  if (kept === null || !manifestFile.equals(kept.bytes)) return `its ${manifestName} is another one or none`;
  const { manifest } = parseManifestFile(manifestFile.toString());
  for (const { stored } of Object.values(manifest.files)) {
    try {
      for await (const part of readStoredFile(store, date, stored)) void part;
    } catch (error) {
      const isOfPack = error instanceof DaybookError && (error.code === 'NOT_FOUND' || error.code === 'OBJECT_CHANGED');
      if (!isOfPack) throw error;
      return error.message;
    }
  }
  return null;
}

/** Days whose pack is on this node, ascending. */
async function listLocalDays(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => /^\d{4}-\d\d-\d\d$/.test(name)).sort();
}

async function storePack({ store, folder, lockDays, clock }: PackStoreOptions, date: string, signal: AbortSignal) {
  const manifestFile = await readFile(join(folder, date, manifestName));
  const manifest: PackManifest = parseManifestFile(manifestFile.toString()).manifest;
  const retention = { mode: 'COMPLIANCE', until: timestampFromMs(clock.nowMs() + lockDays * 86_400_000) } as const;
  const { objectLock } = await store.describe();
  const write = async (key: string, bytes: Uint8Array) => {
    if (objectLock) await store.writeLocked(key, bytes, retention);
    else await store.write(key, bytes);
  };
  for (const { name, size } of Object.values(manifest.files).map(({ stored }) => stored)) {
    const keys = packObjectKeys(date, name, size);
    const parts = createReadStream(join(folder, date, name), { highWaterMark: partBytesMax });
    let place = 0;
    for await (const part of wholeParts(parts)) {
      signal.throwIfAborted();
      await write(keys[place] ?? packObjectKey(date, name), part);
      place += 1;
    }
    if (place === 0) await write(packObjectKey(date, name), new Uint8Array());
  }
  await write(packObjectKey(date, manifestName), manifestFile);
}

/** A stream may give less than asked for: parts of exactly partBytesMax, but for the last. */
async function* wholeParts(chunks: AsyncIterable<Buffer | string>): AsyncIterable<Uint8Array> {
  let waiting: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let rest = chunk as Buffer;
    while (length + rest.length >= partBytesMax) {
      const end = partBytesMax - length;
      yield Buffer.concat([...waiting, rest.subarray(0, end)]);
      rest = rest.subarray(end);
      [waiting, length] = [[], 0];
    }
    waiting.push(rest);
    length += rest.length;
  }
  if (length > 0) yield Buffer.concat(waiting);
}
