import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { findFreePort } from './test-server.js';
import { waitUntil } from './wait-until.js';

const run = promisify(execFile);
const PROGRAMS = ['ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin', 'setpriv'];
/** For each of the commands that set the server up; those that have to wait for a daemon take about half a second. */
const COMMAND_TIMEOUT_MS = 30_000;

/** An S3 server with versions and Object Lock, empty, in memory: Ceph with one monitor, one OSD and one gateway. */
export interface ObjectLockServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Ends the gateway at once, as a crash does: from then on the endpoint refuses connections. */
  killGateway(): Promise<void>;
}

const searchPath = (process.env.PATH ?? '').split(delimiter);
const missing = PROGRAMS.filter((name) => !searchPath.some((folder) => existsSync(join(folder, name))));

export const hasObjectLockServer = missing.length === 0;

if (!hasObjectLockServer) {
  // eslint-disable-next-line no-console -- a suite that is left out says so where nobody can miss it
  console.warn(
    `LEFT OUT: tests of S3 with Object Lock, for ${missing.join(', ')} is missing (apt-get install ceph-mon ceph-osd radosgw).`,
  );
}

/** Starts the three daemons on loopback; ready when it returns. If a step fails, nothing is left running. */
export async function startObjectLockServer(): Promise<ObjectLockServer> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-ceph-'));
  const daemons: Daemon[] = [];
  const stop = async () => {
    // The reverse order of the start, so that none complains about the loss of what it stands on.
    for (const daemon of daemons.reverse()) await daemon.kill();
    await rm(folder, { recursive: true, maxRetries: 5 });
  };
  try {
    return { ...(await startCeph(folder, daemons)), [Symbol.asyncDispose]: stop };
  } catch (err) {
    const reason = await readLogs(folder);
    await stop();
    throw new Error(`Ceph did not start: ${String(err)}\n${reason}`, { cause: err });
  }
}

async function startCeph(folder: string, daemons: Daemon[]): Promise<Omit<ObjectLockServer, keyof AsyncDisposable>> {
  const monitorPort = await findFreePort();
  const gatewayPort = await findFreePort();
  const cluster = randomUUID();
  const osd = randomUUID();
  await Promise.all(['mon', 'osd', 'rgw', 'log', 'run'].map((name) => mkdir(join(folder, name))));
  const settingsFile = join(folder, 'ceph.conf');
  await writeFile(join(folder, 'keyring'), '');
  await writeFile(settingsFile, cephSettings({ folder, cluster, monitorPort, gatewayPort }));
  const environment = { PATH: process.env.PATH, CEPH_CONF: settingsFile };
  const command = (program: string, ...args: string[]) =>
    run(program, args, { env: environment, cwd: folder, timeout: COMMAND_TIMEOUT_MS });
  const start = (program: string, ...args: string[]) => {
    const daemon = startDaemon(program, args, environment);
    daemons.push(daemon);
    return daemon;
  };

  const map = join(folder, 'monmap');
  await command('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, map);
  await command('ceph-mon', '-i', 'a', '--mkfs', '--monmap', map);
  start('ceph-mon', '-i', 'a', '-f');
  // The OSD's files need no monitor, so they are made while it forms its quorum.
  await Promise.all([
    command('ceph', '--connect-timeout', '20', 'osd', 'new', osd),
    command('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd),
  ]);
  start('ceph-osd', '-i', '0', '-f');
  const gateway = start('radosgw', '-n', 'client.rgw', '-f');
  const endpoint = `http://127.0.0.1:${gatewayPort}`;
  await waitUntil('the gateway answers', () => {
    const ended = daemons.find((daemon) => daemon.hasEnded());
    if (ended !== undefined) throw new Error(`${ended.program} ended`);
    return fetch(endpoint).then(
      (response) => response.ok,
      () => false,
    );
  });
  const accessKeyId = 'DAYBOOKTEST';
  const secretAccessKey = randomBytes(16).toString('hex');
  const keys = [`--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`];
  await command('radosgw-admin', 'user', 'create', '--uid=daybook', '--display-name=Daybook', ...keys);
  return { endpoint, accessKeyId, secretAccessKey, killGateway: () => gateway.kill() };
}

interface Daemon {
  readonly program: string;
  hasEnded(): boolean;
  /** Nothing that it holds outlives the test: there is nothing to write back, so it need not be asked to end. */
  kill(): Promise<void>;
}

function startDaemon(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Daemon {
  // Should this process be killed, the kernel ends the daemon too.
  const child: ChildProcess = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], { env, stdio: 'ignore' });
  const ended = once(child, 'exit').catch(() => undefined);
  const hasEnded = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  return {
    program,
    hasEnded,
    async kill() {
      if (hasEnded()) return;
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** One copy of everything, in memory, and no passwords within the cluster: all of it listens on loopback only. */
function cephSettings(of: { folder: string; cluster: string; monitorPort: number; gatewayPort: number }): string {
  const at = (...names: string[]) => join(of.folder, ...names);
  const settings: Record<string, string | number | boolean> = {
    fsid: of.cluster,
    'mon host': `[v2:127.0.0.1:${of.monitorPort}]`,
    'mon initial members': 'a',
    'public addr': '127.0.0.1',
    'cluster addr': '127.0.0.1',
    'ms bind msgr1': false,
    // Encryption needs the secrets that authentication brings, and there is none.
    'ms mon client mode': 'crc',
    'auth cluster required': 'none',
    'auth service required': 'none',
    'auth client required': 'none',
    'auth allow insecure global id reclaim': false,
    keyring: at('keyring'),
    'run dir': at('run'),
    'admin socket': at('run', '$name.asok'),
    'pid file': at('run', '$name.pid'),
    'log file': at('log', '$name.log'),
    'mon cluster log file': at('log', 'cluster.log'),
    'mon data': at('mon'),
    'osd data': at('osd'),
    'rgw data': at('rgw'),
    'osd objectstore': 'memstore',
    'memstore device bytes': 2 ** 30,
    'osd pool default size': 1,
    'osd pool default min size': 1,
    'mon allow pool size one': true,
    'osd pool default pg num': 8,
    'osd pool default pg autoscale mode': 'off',
    'osd crush chooseleaf type': 0,
    'mon max pg per osd': 1_000,
    // The monitor gives up on a disk that is 95 % full, which says nothing about a store in memory.
    'mon data avail warn': 2,
    'mon data avail crit': 1,
    // Each step of the start is agreed on by one monitor: there is nobody to wait for.
    'paxos propose interval': 0.02,
    'paxos min wait': 0.01,
    // Who asks before the other is up asks again soon, not after the seconds that suit a network.
    'mon client hunt interval': 0.2,
    'objecter tick interval': 0.2,
    'rgw frontends': `beast endpoint=127.0.0.1:${of.gatewayPort} tcp_nodelay=1`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  return ['[global]', ...lines, ''].join('\n');
}

/** The last lines that each daemon left, for the message about a failed start. */
async function readLogs(folder: string): Promise<string> {
  const names = await readdir(join(folder, 'log')).catch(() => []);
  const parts = names.map(async (name) => {
    const text = await readFile(join(folder, 'log', name), 'utf8');
    return `${name}:\n${text.split('\n').slice(-10).join('\n')}`;
  });
  return (await Promise.all(parts)).join('\n');
}
