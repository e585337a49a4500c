import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

const LOG_TAIL_LINES = 12;

/** Where the embedded server keeps what, all below `<dataDir>/postgres`. */
export interface PostgresFolder {
  readonly root: string;
  /** The cluster itself; exists only once initdb has finished. */
  readonly data: string;
  readonly log: string;
  /** What the server prints before its log collector runs: why a start failed. */
  readonly startupLog: string;
  readonly settings: string;
  /** The administrator's password, mode 0600, readable by this process's user and not by the server's. */
  readonly passwordFile: string;
}

export function postgresFolder(dataDir: string): PostgresFolder {
  const root = join(dataDir, 'postgres');
  return {
    root,
    data: join(root, 'data'),
    log: join(root, 'log'),
    startupLog: join(root, 'startup.log'),
    settings: join(root, 'daybook.conf'),
    passwordFile: join(root, 'superuser-password'),
  };
}

/** Whether initdb has finished here: the folder gets its name only then. */
export async function isInitialised(folder: PostgresFolder): Promise<boolean> {
  return (await stat(folder.data).catch(() => null)) !== null;
}

/** The last lines the server wrote, for an error message; they hold no secret of ours. */
export async function readLogTail(folder: PostgresFolder): Promise<string> {
  const files = await readdir(folder.log).catch(() => []);
  const dated = await Promise.all(
    files.map(async (name) => ({
      path: join(folder.log, name),
      changedMs: (await stat(join(folder.log, name))).mtimeMs,
    })),
  );
  const newest = dated.sort((left, right) => right.changedMs - left.changedMs)[0];
  const texts = await Promise.all(
    [folder.startupLog, newest?.path ?? folder.startupLog].map((path) => readFile(path, 'utf8').catch(() => '')),
  );
  const [startup = '', server = ''] = texts.map((text) => text.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n'));
  return startup === server ? startup : `${startup}\n${server}`;
}
