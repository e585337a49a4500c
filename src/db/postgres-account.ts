import { execFile, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { DaybookError } from '../errors.js';

const run = promisify(execFile);

const ACCOUNT_NAME = 'postgres';

/** The programs' whole environment: ours may hold secrets, which the other user could read in /proc/<pid>/environ. */
const PROGRAM_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** Numbers of the two capabilities that let a process enter folders that its user may not, the weaker one first. */
const TRAVERSAL_CAPABILITIES = [
  { name: 'dac_read_search', bit: 2n },
  { name: 'dac_override', bit: 1n },
] as const;

/** The operating system's user that PostgreSQL runs as. */
interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
}

/** Starts programs of the server; `account` is null where they run as this process's own user. */
export interface ProgramLauncher {
  readonly account: ServerAccount | null;
  launch(program: string, args: readonly string[], options: { stdio: StdioOptions; detached: boolean }): ChildProcess;
}

/**
 * PostgreSQL refuses to run as root, so under root it gets the user that owns its data folder, or `postgres`, which is
 * created where it is missing. That user cannot enter a checkout or data folder below a 0700 folder such as /root: then
 * the server keeps one capability, for reading and searching only, rather than us opening the parents' permissions.
 * `paths`: what it must reach. Throws DATABASE_START_FAILED when one of these ways is barred.
 */
export async function openLauncher(dataFolder: string, paths: readonly string[]): Promise<ProgramLauncher> {
  const account = process.getuid?.() === 0 ? await findAccount(dataFolder) : null;
  if (account === null || (await everyReachable(paths, account))) {
    const identity = account ?? {};
    return {
      account,
      launch: (program, args, options) => spawn(program, args, { ...options, ...identity, env: PROGRAM_ENVIRONMENT }),
    };
  }
  const capability = await traversalCapability(paths);
  const prefix = [
    `--reuid=${account.uid}`,
    `--regid=${account.gid}`,
    '--clear-groups',
    // access(2) drops the capabilities of any user but root unless this bit is set, and PostgreSQL asks it about its
    // own programs.
    '--securebits=+no_setuid_fixup',
    `--inh-caps=+${capability}`,
    `--ambient-caps=+${capability}`,
  ];
  return {
    account,
    launch: (program, args, options) =>
      spawn('setpriv', [...prefix, program, ...args], { ...options, env: PROGRAM_ENVIRONMENT }),
  };
}

async function findAccount(dataFolder: string): Promise<ServerAccount> {
  // A folder that moved to another machine keeps its numbers, where the name may have another one.
  const owner = await stat(dataFolder).catch(() => null);
  if (owner !== null && owner.uid !== 0) {
    return { uid: owner.uid, gid: owner.gid };
  }
  return (await readAccount()) ?? (await createAccount());
}

async function readAccount(): Promise<ServerAccount | null> {
  try {
    const options = { env: PROGRAM_ENVIRONMENT };
    const uid = await run('id', ['-u', ACCOUNT_NAME], options);
    const gid = await run('id', ['-g', ACCOUNT_NAME], options);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}

async function createAccount(): Promise<ServerAccount> {
  let cause: unknown;
  try {
    const args = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'];
    await run('useradd', [...args, '--shell', '/usr/sbin/nologin', ACCOUNT_NAME], { env: PROGRAM_ENVIRONMENT });
  } catch (err) {
    cause = err;
  }
  // Read it in any case: another process may have created it in between.
  const account = await readAccount();
  if (account === null) {
    throw new DaybookError(
      'DATABASE_START_FAILED',
      'PostgreSQL refuses to run as root, there is no user "postgres" and useradd could not create it. Create that user, run Daybook as a user of its own, or set DATABASE_URL.',
      { cause },
    );
  }
  return account;
}

async function everyReachable(paths: readonly string[], account: ServerAccount): Promise<boolean> {
  for (let path of paths) {
    while (true) {
      if (!(await mayEnter(path, account))) {
        return false;
      }
      if (path === dirname(path)) {
        break;
      }
      path = dirname(path);
    }
  }
  return true;
}

async function mayEnter(path: string, account: ServerAccount): Promise<boolean> {
  const facts = await stat(path);
  if (facts.uid === account.uid) {
    return (facts.mode & 0o500) === 0o500;
  }
  // For a parent the search bit is enough; the ends of our paths are programs and folders of ours, where both are set.
  return (facts.mode & (facts.gid === account.gid ? 0o010 : 0o001)) !== 0;
}

async function traversalCapability(paths: readonly string[]): Promise<string> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const permitted = BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const capability = TRAVERSAL_CAPABILITIES.find(({ bit }) => (permitted & (1n << bit)) !== 0n);
  const present = await run('setpriv', ['--version'], { env: PROGRAM_ENVIRONMENT }).catch(() => null);
  if (capability === undefined || present === null) {
    throw new DaybookError(
      'DATABASE_START_FAILED',
      `PostgreSQL runs as the user "postgres", which cannot enter ${paths.join(' or ')}: a parent folder is closed to others. Move the checkout and the data folder out of it, run Daybook as another user than root, or install setpriv (package util-linux) with the capability CAP_DAC_READ_SEARCH.`,
    );
  }
  return capability.name;
}
