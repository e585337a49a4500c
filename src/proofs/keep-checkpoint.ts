import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { LogName } from '../ledger/rows.js';
import type { CheckpointFiles } from './known-checkpoints.js';

/** Writes a note into its file so that it survives a power cut: the new name is flushed as well as the bytes. */
export async function keepCheckpoint(files: CheckpointFiles, log: LogName, note: string): Promise<void> {
  const isFirst = (await files.read(log)) === null;
  await files.write(log, note);
  const folder = dirname(files.pathOf(log));
  await syncFolder(folder);
  // The folder itself may be new.
  if (isFirst) await syncFolder(dirname(folder));
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}
