import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { hasRsyslog, startRsyslog } from '../support/rsyslog-server.js';
import { count, makeSinkBed, type SinkBed } from '../support/sink-bed.js';
import { startSyslogReceiver, type SyslogConnection, type SyslogReceiver } from '../support/syslog-receiver.js';
import { startTcpRelay } from '../support/tcp-relay.js';
import { makeCertificates } from '../support/tls-certificates.js';
import { waitUntil } from '../support/wait-until.js';

let bed: SinkBed;
let stack: AsyncDisposableStack;
let certificates: string;

beforeAll(async () => {
  certificates = await mkdtemp(join(tmpdir(), 'daybook-syslog-'));
  await makeCertificates(certificates);
});
afterAll(() => rm(certificates, { recursive: true }));

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  bed = stack.use(await makeSinkBed());
});
afterEach(() => stack.disposeAsync());

/** What a receiver does with its connections while it fails. */
type Fault = [string, (connection: SyslogConnection, receiver: SyslogReceiver) => void];

const failed = () => waitUntil('a failure is noted', async () => (await bed.row()).failures > 0);

describe.each(['TLS', 'plain TCP'])('a receiver over %s', (transport) => {
  const isTls = transport === 'TLS';

  const start = async () => stack.use(await startSyslogReceiver(isTls ? certificates : null));
  const deliver = (port: number, settings: object = {}) =>
    bed.deliver({
      kind: 'syslog',
      host: '127.0.0.1',
      port,
      tls: isTls ? { caFile: join(certificates, 'ca.pem') } : false,
      confirmSeconds: 0.3,
      timeoutSeconds: 0.7,
      ...settings,
    });

  test('gets every entry once and in order where nothing fails', async () => {
    const receiver = await start();
    await bed.append(1_200);
    await deliver(receiver.port, { confirmEntries: 300 });
    await bed.reached(1_200);
    await bed.append(5);
    await bed.reached(1_205);
    expect(receiver.indexes).toEqual(count(1_205));
  });

  const ofBoth: Fault[] = [
    ['hangs up at once', ({ raw }) => raw.end()],
    ['breaks the connection at its end', ({ stream, raw }) => stream.resume().on('end', () => raw.resetAndDestroy())],
    [
      'closes because it shuts down',
      ({ stream }, receiver) => {
        receiver.shut();
        stream.resume().on('end', () => stream.end());
      },
    ],
  ];
  const ofTls: Fault[] = [
    ['closes before it has read everything', ({ stream }) => void stream.pause().end(() => stream.destroy())],
    ['reads everything and never closes', ({ stream }) => void stream.resume()],
    ['reads nothing', ({ stream }) => void stream.pause()],
    ['talks without end', talk],
  ];

  test.each(isTls ? [...ofBoth, ...ofTls] : ofBoth)('that %s acknowledges nothing by it', async (_, fault) => {
    const receiver = await start();
    let isFaulty = true;
    receiver.handle((connection) => (isFaulty ? fault(connection, receiver) : connection.keep()));
    await bed.append(400);
    await deliver(receiver.port);
    await failed();
    expect((await bed.row()).position).toBe('0');
    isFaulty = false;
    await receiver.listen();
    await bed.reached(400);
    expect(receiver.indexes).toEqual(count(400));
  });

  test('that closes a connection without use gets the next entries over another', async () => {
    const receiver = await start();
    receiver.handle(({ place, raw, keep }) => (place === 1 ? raw.end() : keep()));
    await bed.append(10);
    await deliver(receiver.port);
    await bed.reached(10);
    await waitUntil('it was connected to again', () => receiver.connections() === 2);
    await bed.append(10);
    await bed.reached(20);
    expect(receiver.indexes).toEqual(count(20));
  });
});

/** Bytes without end, as fast as they are taken, while everything is read. */
function talk({ stream }: SyslogConnection): void {
  const piece = Buffer.alloc(64 * 1024, 'x');
  const more = () => {
    while (!stream.destroyed && stream.write(piece));
  };
  stream.resume().on('drain', more);
  more();
}

describe('a receiver that has to say close_notify', () => {
  const strict = (receiver: SyslogReceiver, port = receiver.port) =>
    bed.deliver({
      kind: 'syslog',
      host: '127.0.0.1',
      port,
      tls: { caFile: join(certificates, 'ca.pem'), requireCloseNotify: true },
      confirmSeconds: 0.2,
      confirmEntries: 200,
      timeoutSeconds: 2,
    });

  test('acknowledges nothing by the end of TCP alone', async () => {
    const receiver = stack.use(await startSyslogReceiver(certificates));
    let isSilent = true;
    receiver.handle(({ stream, raw, keep }) => (isSilent ? stream.resume().on('end', () => raw.end()) : keep()));
    await bed.append(100);
    await strict(receiver);
    await failed();
    expect((await bed.row()).position).toBe('0');
    isSilent = false;
    await bed.reached(100);
    expect(receiver.indexes).toEqual(count(100));
  });

  test('gets every entry although the network ends connections in order whenever it likes', async () => {
    const receiver = stack.use(await startSyslogReceiver(certificates));
    const relay = stack.use(await startTcpRelay(`http://127.0.0.1:${receiver.port}`));
    await bed.append(3_000);
    await strict(receiver, Number(new URL(relay.endpoint).port));
    for (const [position, state] of [
      [500, 'cut'],
      [1_500, 'stalled'],
    ] as const) {
      await bed.reached(position);
      relay.set(state);
      await failed();
      relay.set('open');
    }
    await bed.reached(3_000);
    expect(new Set(receiver.indexes)).toEqual(new Set(count(3_000)));
  });
});

(hasRsyslog ? describe : describe.skip)('rsyslog over TLS', () => {
  test('gets every entry although it is restarted, and its network fails, again and again', async () => {
    const rsyslog = stack.use(await startRsyslog());
    const relay = stack.use(await startTcpRelay(`http://127.0.0.1:${rsyslog.port}`));
    await bed.append(6_000);
    await bed.deliver({
      kind: 'syslog',
      host: '127.0.0.1',
      port: Number(new URL(relay.endpoint).port),
      tls: { caFile: rsyslog.caFile, certFile: rsyslog.clientCertFile, keyFile: rsyslog.clientKeyFile },
      format: 'ocsf',
      confirmEntries: 500,
      confirmSeconds: 0.5,
    });
    for (const position of [1_000, 2_500]) {
      await bed.reached(position);
      await rsyslog.stop();
      await rsyslog.start();
    }
    await bed.reached(4_000);
    relay.set('cut');
    await waitUntil('the failure is noted', async () => (await bed.row()).failures > 0);
    relay.set('open');
    await bed.reached(6_000);
    await rsyslog.stop();
    const received = await rsyslog.read();
    expect(new Set(received.map(({ index }) => index))).toEqual(new Set(count(6_000)));
    expect(JSON.parse(received[0]!.text)).toMatchObject({ class_uid: 6003, metadata: { sequence: 0 } });
  }, 120_000);

  test.each(['a server of another authority', 'no client certificate'])('gets nothing with %s', async (fault) => {
    const rsyslog = stack.use(await startRsyslog());
    const other = stack.use(await startRsyslog());
    await bed.append(3);
    await bed.deliver({
      kind: 'syslog',
      host: '127.0.0.1',
      port: rsyslog.port,
      tls: {
        caFile: fault === 'no client certificate' ? rsyslog.caFile : other.caFile,
        ...(fault === 'no client certificate'
          ? {}
          : { certFile: rsyslog.clientCertFile, keyFile: rsyslog.clientKeyFile }),
      },
      confirmSeconds: 0.2,
    });
    await waitUntil('the failure is noted', async () => (await bed.row()).failures > 0);
    expect((await bed.row()).position).toBe('0');
    expect(await rsyslog.read()).toEqual([]);
  });
});
