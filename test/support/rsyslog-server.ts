import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { findFreePort } from './test-server.js';
import { makeCertificates } from './tls-certificates.js';
import { waitUntil } from './wait-until.js';

/** A message as rsyslog received it. */
interface ReceivedMessage {
  readonly index: number;
  readonly id: string;
  readonly text: string;
}

/** rsyslog with TLS on loopback, which takes clients with a certificate of its own authority alone. */
export interface RsyslogServer extends AsyncDisposable {
  readonly port: number;
  readonly caFile: string;
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
  /** Every message so far, in the order of arrival. */
  read(): Promise<ReceivedMessage[]>;
  /** Index of the message that arrived last; −1 before the first. */
  lastIndex(): Promise<number>;
  /** Ends it as an operator does, by SIGTERM: everything that it took over is in its file then. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Several messages of the largest size. */
const endBytes = 64 * 1024;
const programs = [
  ...['/usr/sbin', ...(process.env.PATH ?? '').split(delimiter)].map((folder) => join(folder, 'rsyslogd')),
].filter(existsSync);
const program = programs[0] ?? '';
/** Below `/usr/lib` alone, or in the folder of the processor's architecture there. */
const libraries = ['/usr/lib', '/usr/lib64'].filter(existsSync).flatMap((folder) => [
  folder,
  ...readdirSync(folder)
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(folder, name)),
]);

export const hasRsyslog =
  program !== '' && libraries.some((folder) => existsSync(join(folder, 'rsyslog', 'lmnsd_gtls.so')));

if (!hasRsyslog) {
  // eslint-disable-next-line no-console -- a suite that is left out says so where nobody can miss it
  console.warn('LEFT OUT: tests of syslog over TLS, for rsyslogd is missing (apt-get install rsyslog rsyslog-gnutls).');
}

export async function startRsyslog(): Promise<RsyslogServer> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-rsyslog-'));
  const at = (name: string) => join(folder, name);
  const port = await findFreePort();
  let child: ChildProcess | null = null;
  let output = '';
  const start = async () => {
    const started = spawn(program, ['-n', '-f', at('rsyslog.conf'), '-i', at('rsyslog.pid')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = started;
    for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
    await waitUntil('rsyslog listens', () => {
      if (started.exitCode !== null) throw new Error(`rsyslogd ended with ${started.exitCode}: ${output}`);
      return isListening(port);
    });
  };
  const stop = async () => {
    const running = child;
    child = null;
    if (running === null || running.exitCode !== null) return;
    const exited = once(running, 'exit');
    running.kill('SIGTERM');
    await exited;
  };
  const dispose = async () => {
    await stop();
    await rm(folder, { recursive: true, maxRetries: 5 });
  };
  try {
    await makeCertificates(folder);
    await writeFile(at('rsyslog.conf'), settings(folder, port));
    await start();
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    port,
    caFile: at('ca.pem'),
    clientCertFile: at('client.pem'),
    clientKeyFile: at('client.key'),
    read: async () => parseMessages(await readFile(at('received'), 'utf8').catch(() => '')),
    lastIndex: async () => parseMessages(await readEnd(at('received'))).at(-1)?.index ?? -1,
    stop,
    start,
    [Symbol.asyncDispose]: dispose,
  };
}

/** The last whole lines of a file that may not be there yet. */
async function readEnd(path: string): Promise<string> {
  const handle = await open(path, 'r').catch(() => null);
  if (handle === null) return '';
  try {
    const { size } = await handle.stat();
    const from = Math.max(0, size - endBytes);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(endBytes), 0, endBytes, from);
    const text = buffer.toString('utf8', 0, bytesRead);
    // The first line may lack its beginning, the last one its end.
    return text.slice(from === 0 ? 0 : text.indexOf('\n') + 1, text.lastIndexOf('\n') + 1);
  } finally {
    await handle.close();
  }
}

function parseMessages(text: string): ReceivedMessage[] {
  return text
    .split('\n')
    .filter((line) => line.includes('[daybook@'))
    .map((line) => {
      const [, index, id, message] =
        /^<\d+>1 \S+ \S+ daybook - \S+ \[daybook@\d+ index="(\d+)" id="([^"]+)" hash="[0-9a-f]{64}"\] (.*)$/.exec(
          line,
        ) ?? [];
      if (index === undefined || id === undefined) throw new Error(`this is no message of ours: ${line}`);
      return { index: Number(index), id, text: message ?? '' };
    });
}

function settings(folder: string, port: number): string {
  const at = (name: string) => join(folder, name);
  return `global(
  workDirectory="${folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="${at('ca.pem')}"
  defaultNetstreamDriverCertFile="${at('server.pem')}" defaultNetstreamDriverKeyFile="${at('server.key')}"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
main_queue(queue.type="LinkedList" queue.timeoutShutdown="60000")
input(type="imtcp" port="${port}" address="127.0.0.1")
template(name="whole" type="string" string="%rawmsg%\\n")
action(type="omfile" file="${at('received')}" template="whole")
`;
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
