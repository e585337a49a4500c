import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Append } from './access/request-calls.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import type { LoginSource } from './db/login.js';
import { readOrCreateSecretFile } from './db/secret-file.js';
import { DaybookError } from './errors.js';
import { readGenerator } from './generator.js';
import { registerSinkGauges } from './http/sink-gauges.js';
import type { LogTail } from './ledger/tail-log.js';
import { ElasticsearchTarget } from './sinks/elasticsearch-target.js';
import { FileTarget, makeLogFolder } from './sinks/file-target.js';
import { giveWayToRecording } from './sinks/give-way.js';
import { readConfigured, readLineKey, readSecretText, readWebhookSecret } from './sinks/read-secret.js';
import { replaySink } from './sinks/replay-sink.js';
import { readSinksFile, type SinkConfig } from './sinks/sink-config.js';
import { ensureSink, readSinks } from './sinks/sink-rows.js';
import { SinkRunner } from './sinks/sink-runner.js';
import type { SinkServices } from './sinks/sink-services.js';
import type { SinkTarget } from './sinks/sink-target.js';
import { SyslogTarget } from './sinks/syslog-target.js';
import { WebhookTarget } from './sinks/webhook-target.js';

/** Name of the sink of DAYBOOK_LOG_FILES. */
const builtInName = 'jsonl';

export interface SinkParts {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly pool: pg.Pool;
  readonly urls: { readonly application: LoginSource };
  readonly append: Append;
  readonly tail: LogTail<'audit'>;
  /** Of this node: while it is busy, sinks wait. */
  readonly writer: { readonly takenRows: number };
  /** Where the lag of each sink is shown. */
  readonly registry: Registry;
}

/**
 * Opens every configured sink and begins to deliver; `stack` takes them over. Throws CONFIG_INVALID where a file that the
 * configuration names is missing or unusable; a target that cannot be reached is no reason not to start.
 */
export async function openSinks(parts: SinkParts, stack: AsyncDisposableStack): Promise<SinkServices> {
  const { pool, append, log, tail } = parts;
  const url = parts.urls.application;
  const giveWay = giveWayToRecording(parts.writer);
  const configured = new Set<number>();
  for (const sink of await listSinks(parts.config)) {
    const target = await openTarget(sink, parts);
    const { place, shown } = await describePlace(sink);
    const row = await ensureSink(pool, { ...sink, place, target: shown });
    if (row.kind !== sink.kind) {
      throw new DaybookError(
        'CONFIG_INVALID',
        `sink ${sink.name} is of kind ${row.kind}: give the new one another name`,
      );
    }
    const rewind = async (from: bigint, reason: string) => {
      const replay = { name: sink.name, from: from.toString(), number: row.number, reason };
      await replaySink({ database: pool, append }, replay, serviceOrigin());
    };
    const { name } = sink;
    stack.use(new SinkRunner({ name, number: row.number, target, tail, url, rewind, giveWay, log })).start();
    configured.add(row.number);
  }
  registerSinkGauges(parts.registry, async () => {
    const sinks = await readSinks(pool);
    return sinks.filter(({ number }) => configured.has(number));
  });
  return { configured };
}

/** The sinks of this node: log files unless they are off, and those of DAYBOOK_SINKS_FILE. */
async function listSinks({ logFiles, sinksFile }: Config): Promise<SinkConfig[]> {
  const sinks: SinkConfig[] = sinksFile === undefined ? [] : await readSinksFile(sinksFile);
  if (logFiles !== undefined) {
    const { folder, gzip, keyFile, encrypt } = logFiles;
    const encryption = keyFile === undefined ? {} : { keyFile };
    sinks.unshift({ name: builtInName, kind: 'jsonl', startAt: 'beginning', folder, gzip, encrypt, ...encryption });
  }
  for (const [place, sink] of sinks.entries()) {
    const before = sinks.slice(0, place);
    if (before.some(({ name }) => name === sink.name)) {
      throw new DaybookError(
        'CONFIG_INVALID',
        `${builtInName} is the sink of DAYBOOK_LOG_FILES: give yours another name`,
      );
    }
    if ('folder' in sink && before.some((one) => 'folder' in one && resolve(one.folder) === resolve(sink.folder))) {
      throw new DaybookError('CONFIG_INVALID', `two sinks write into the folder ${sink.folder}: give each its own`);
    }
  }
  return sinks;
}

/** The target of a sink, not opened. Files with secrets are read once here, so that a missing one ends the start. */
async function openTarget(sink: SinkConfig, { clock }: SinkParts): Promise<SinkTarget> {
  if ('caFile' in sink && sink.caFile !== undefined) await readConfigured(sink.caFile, 'the CA file');
  switch (sink.kind) {
    case 'jsonl':
    case 'ecs':
      return new FileTarget(sink, sink.keyFile === undefined ? null : await readLineKey(sink.keyFile));
    case 'syslog': {
      const { caFile, certFile, keyFile } = sink.tls === false ? {} : sink.tls;
      for (const file of [caFile, certFile, keyFile]) if (file !== undefined) await readConfigured(file, 'a TLS file');
      const { name, version } = readGenerator();
      return new SyslogTarget(sink, { product: { name, version }, hostname: hostname() });
    }
    case 'elasticsearch':
      if (sink.apiKeyFile !== undefined) await readSecretText(sink.apiKeyFile, 'the API key file');
      return new ElasticsearchTarget(sink);
    case 'webhook':
      await readWebhookSecret(sink.secretFile);
      return new WebhookTarget(sink, clock);
  }
}

/**
 * Whose cursor it is. Nodes share that of a network target. Each folder has its own, known by a file in it: two nodes with a
 * folder each keep both complete, and two nodes on one folder take turns.
 */
async function describePlace(sink: SinkConfig): Promise<{ readonly place: string; readonly shown: string }> {
  switch (sink.kind) {
    case 'jsonl':
    case 'ecs':
      await makeLogFolder(sink.folder);
      return {
        place: await readOrCreateSecretFile(join(sink.folder, '.daybook-place')),
        shown: `${hostname()}:${sink.folder}`,
      };
    case 'syslog':
      return { place: '', shown: `${sink.tls === false ? 'tcp' : 'tls'}://${sink.host}:${sink.port}` };
    case 'elasticsearch':
      return { place: '', shown: `${new URL(sink.url).origin}/${sink.index}` };
    case 'webhook':
      // The path of a webhook often is its secret.
      return { place: '', shown: new URL(sink.url).origin };
  }
}

function serviceOrigin() {
  const requestId = randomUUID();
  return { actor: 'daybook', role: null, ipAddress: null, userAgent: null, sessionId: 'sinks', requestId };
}
