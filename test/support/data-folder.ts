import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A data folder of its own, removed at disposal. The embedded server in it must be stopped by then. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
}

/** `closed`: below a folder that only this user may enter, as a checkout under /root is. */
export async function createDataFolder(options: { closed?: boolean } = {}): Promise<DataFolder> {
  const parent = await mkdtemp(join(tmpdir(), 'daybook-folder-'));
  await chmod(parent, options.closed ? 0o700 : 0o711);
  return {
    path: join(parent, 'var'),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, maxRetries: 5 }),
  };
}
