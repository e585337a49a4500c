import { open, mkdir, readFile, rename } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseCheckpoint, type Checkpoint } from '../core/checkpoint.js';
import { encodeHex, equalBytes } from '../core/bytes.js';
import { parseNote, verifyNote } from '../core/signed-note.js';
import type { VerifierKey } from '../core/verifier-key.js';
import { DaybookError } from '../errors.js';
import type { LogName } from '../ledger/rows.js';

/** A checkpoint that exists outside the database's log of them, and where it was found. */
export interface KnownCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: string;
  readonly from: string;
}

/**
 * Reads a note that must be a checkpoint of `origin` signed by one of its keys. Throws LOG_INCONSISTENT where it is not: a
 * place that holds something else is no place to go on from.
 */
export function readKnownCheckpoint(
  note: string,
  from: string,
  origin: string,
  keys: readonly VerifierKey[],
): KnownCheckpoint {
  const refuse = (reason: string): never => {
    throw new DaybookError(
      'LOG_INCONSISTENT',
      `the checkpoint in ${from} ${reason}: if it belongs to another ledger, give this one a place of its own`,
    );
  };
  try {
    const signed = parseNote(note);
    const verdict = verifyNote(signed, keys);
    if (verdict.status === 'unknown-key') refuse('is not signed by a key of this ledger');
    if (verdict.status === 'bad-signature') refuse('has a bad signature');
    const checkpoint = parseCheckpoint(signed.text);
    if (checkpoint.origin !== origin) refuse(`is of ${checkpoint.origin}, not of ${origin}`);
    return { checkpoint, note, from };
  } catch (error) {
    if (error instanceof DaybookError) throw error;
    return refuse(`cannot be read (${(error as Error).message})`);
  }
}

/**
 * As readKnownCheckpoint, of a row of the table `checkpoints`, whose size and root must be those of its note. Whoever may
 * write into the database may have put it there.
 */
export function readStoredCheckpoint(
  row: { readonly treeSize: string; readonly rootHash: string; readonly note: string },
  origin: string,
  keys: readonly VerifierKey[],
): KnownCheckpoint {
  const stored = readKnownCheckpoint(row.note, 'the table checkpoints', origin, keys);
  const { size, root } = stored.checkpoint;
  if (String(size) === row.treeSize && encodeHex(root) === row.rootHash) return stored;
  throw new DaybookError(
    'LOG_INCONSISTENT',
    `the checkpoint of ${row.treeSize} entries of ${origin} is not what its own signed note says: it was changed`,
  );
}

/** Throws LOG_INCONSISTENT where one of two checkpoints of the same size must be wrong. */
export function assertSameRoot(known: KnownCheckpoint, root: Uint8Array): void {
  if (equalBytes(known.checkpoint.root, root)) return;
  throw new DaybookError(
    'LOG_INCONSISTENT',
    `the database's first ${known.checkpoint.size} entries give another root than the checkpoint in ${known.from}: entries were changed`,
  );
}

/**
 * The newest checkpoint that this node saw of each log, in files of the data folder, so that a database which was set back
 * is noticed by a node that was not. Written and flushed before a checkpoint is committed: a crash in between leaves a file
 * that is ahead by a checkpoint consistent with the log.
 */
export class CheckpointFiles {
  constructor(private readonly folder: string) {}

  pathOf(log: LogName): string {
    return join(this.folder, `${log}.checkpoint`);
  }

  /** The kept note, null before the first one. */
  async read(log: LogName): Promise<string | null> {
    try {
      return await readFile(this.pathOf(log), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /** Survives a power cut: the new names are flushed as well as the bytes. */
  async write(log: LogName, note: string): Promise<void> {
    const path = this.pathOf(log);
    const folder = resolve(dirname(path));
    const firstMade = await mkdir(folder, { recursive: true, mode: 0o700 });
    const temporary = `${path}.new`;
    {
      await using file = await open(temporary, 'w', 0o600);
      await file.writeFile(note);
      await file.sync();
    }
    await rename(temporary, path);
    const last = firstMade === undefined ? folder : dirname(firstMade);
    for (let one = folder; ; one = dirname(one)) {
      await syncFolder(one);
      if (one === last) return;
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}
