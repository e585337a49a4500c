import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig } from '../config.js';
import { parseVerifierKey, type VerifierKey } from '../core/verifier-key.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { storeLayout } from '../storage/layout-of-store.js';
import { openS3Store } from '../storage/s3-store.js';
import { exitCodeOf, exitCodes, RunError } from '../verifier/exit-codes.js';
import type { LayoutReader } from '../verifier/layout-reader.js';
import { ProgressLine } from '../verifier/progress-line.js';
import { readFolder } from '../verifier/read-folder.js';
import { readHttp } from '../verifier/read-http.js';
import { readHead } from '../verifier/read-note.js';
import { describeLayout, printable } from '../verifier/report.js';
import { verifyLayout, type LayoutVerification } from '../verifier/verify-layout.js';

export interface VerifySourceOptions {
  /** Pinned verifier keys, of the logs and of witnesses, as text. */
  readonly keys: readonly string[];
  /** Holds the key that is sent to an http(s) source. */
  readonly apiKeyFile?: string;
  /** Only this log. */
  readonly log?: LogName;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

/** What was found of one log; `log` is null where the source is itself a log's and nobody said which. */
type SourceVerification = LayoutVerification & { readonly log: LogName | null; readonly intact: boolean };

interface SourceFailure {
  readonly code: string;
  readonly message: string;
}

/**
 * Verifies the logs as they are published, without the database: both logs below a folder, an http(s) address or an
 * `s3://<bucket>/<prefix>`, or the one log that lies there itself. Endpoint and region of a bucket come from
 * DAYBOOK_S3_ENDPOINT and DAYBOOK_S3_REGION, its credentials from where the AWS SDK looks for them.
 *
 * Prints what was found on stdout and returns an exit code of `daybook-verify`: 1 where a log is broken, else 2 where one
 * could not be read to its end, else 3 where no key of one is pinned, else 0.
 */
export async function verifySource(source: string, options: VerifySourceOptions): Promise<number> {
  const { json } = options;
  const found: SourceVerification[] = [];
  const failure = await verifyEach(source, options, found);
  const intact = found.every((one) => one.intact);
  if (json) {
    process.stdout.write(
      `${JSON.stringify(failure === null ? { intact, logs: found } : { error: failure, logs: found })}\n`,
    );
  } else {
    process.stdout.write(found.map(describeLayout).join('\n'));
  }
  if (failure !== null) {
    process.stderr.write(printable(`${failure.code}: ${source} was not verified to its end: ${failure.message}\n`));
  }
  if (!intact) return exitCodes.broken;
  if (failure !== null) return exitCodes.notRun;
  return found.every(({ signer }) => signer === 'verified') ? exitCodes.verified : exitCodes.signerUnknown;
}

/** Adds what was found to `found`; returns why the first log that could not be verified was not, else null. */
async function verifyEach(
  source: string,
  options: VerifySourceOptions,
  found: SourceVerification[],
): Promise<SourceFailure | null> {
  let failure: SourceFailure | null = null;
  try {
    const keys = options.keys.map(parsePinnedKey);
    await using place = await openPlace(source, options);
    const isLog = (await (await place.at(null)).read('checkpoint')) !== null;
    const wanted = options.log === undefined ? logNames : [options.log];
    for (const log of isLog ? [options.log ?? null] : wanted) {
      try {
        const reader = await place.at(isLog ? null : log);
        found.push(await verifyOne(reader, log, keys, options.signal));
      } catch (err) {
        failure ??= describeFailure(err, options.signal);
      }
    }
  } catch (err) {
    failure ??= describeFailure(err, options.signal);
  }
  return failure;
}

async function verifyOne(
  reader: LayoutReader,
  log: LogName | null,
  allKeys: readonly VerifierKey[],
  signal: AbortSignal,
): Promise<SourceVerification> {
  // The other log's key says nothing about this one: with it alone, nobody is pinned here.
  const others = logNames.filter((name) => log !== null && name !== log);
  const keys = allKeys.filter(({ name, type }) => type !== 1 || !others.some((other) => name.endsWith(`/${other}`)));
  const named = log === null ? null : nameOfLog(log, keys);
  const origin = named ?? (log === null ? null : await deriveOrigin(reader, log));
  const progress = new ProgressLine(process.stderr);
  try {
    const onProgress = progress.update.bind(progress);
    const verification = await verifyLayout({
      reader,
      keys,
      signal,
      onProgress,
      ...(origin === null ? {} : { origin }),
    });
    const intact = exitCodeOf(verification.breakCount === 0, verification.signer) !== exitCodes.broken;
    return { log, intact, ...verification, originExpected: named !== null };
  } finally {
    progress.stop();
  }
}

/** The origin that the pinned keys give a log; null where they give none, or several. */
function nameOfLog(log: LogName, keys: readonly VerifierKey[]): string | null {
  const names = new Set(
    keys.filter(({ name, type }) => type === 1 && name.endsWith(`/${log}`)).map(({ name }) => name),
  );
  const [name] = names;
  return name === undefined || names.size > 1 ? null : name;
}

/** One log's files in the place of the other are a break, however well they are signed: the place says which log it is. */
async function deriveOrigin(reader: LayoutReader, log: LogName): Promise<string | null> {
  const head = await readHead(reader, 'checkpoint', { keys: [] });
  return head?.checkpoint?.origin.replace(/[^/]*$/, log) ?? null;
}

/** Where logs lie. */
interface Place extends AsyncDisposable {
  /** A log below it, or with null what lies there itself. */
  at(log: LogName | null): Promise<LayoutReader>;
}

async function openPlace(source: string, { apiKeyFile, signal }: VerifySourceOptions): Promise<Place> {
  const isUrl = /^https?:\/\//i.test(source);
  if (!isUrl && apiKeyFile !== undefined) throw new RunError('USAGE', 'only an http(s) source takes an API key');
  if (isUrl) return openAddress(source, apiKeyFile === undefined ? null : await readApiKey(apiKeyFile), signal);
  if (/^s3:\/\//i.test(source)) return openBucket(source);
  const at = (log: LogName | null) => readFolder(log === null ? source : join(source, log));
  return { at, [Symbol.asyncDispose]: () => Promise.resolve() };
}

function openAddress(source: string, apiKey: string | null, signal: AbortSignal): Place {
  const at = (log: LogName | null): Promise<LayoutReader> => {
    const url = new URL(source);
    if (log !== null) url.pathname = `${url.pathname.replace(/\/+$/, '')}/${log}`;
    return Promise.resolve(readHttp({ url: url.href, signal, ...(apiKey === null ? {} : { apiKey }) }));
  };
  if (!URL.canParse(source)) throw new RunError('USAGE', `${source} is not an address`);
  return { at, [Symbol.asyncDispose]: () => Promise.resolve() };
}

function openBucket(source: string): Place {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*?))?\/*$/i.exec(source) ?? [];
  if (bucket === undefined) throw new RunError('USAGE', `${source} is not s3://<bucket>/<prefix>`);
  // The rules for names of buckets and prefixes are those of the service's own.
  const { s3 } = readConfig({ ...process.env, DAYBOOK_S3_BUCKET: bucket, DAYBOOK_S3_PREFIX: prefix }).store;
  if (s3 === undefined) throw new RunError('USAGE', `${source} names no bucket`);
  const store = openS3Store(s3);
  return {
    at: (log) => Promise.resolve(storeLayout(store, log ?? '')),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

async function readApiKey(path: string): Promise<string> {
  let apiKey: string;
  try {
    apiKey = (await readFile(path, 'utf8')).trim();
  } catch (err) {
    throw new RunError('FILE_UNREADABLE', `${path} cannot be read: ${(err as Error).message}`);
  }
  if (!/^[\x21-\x7e]+$/.test(apiKey)) throw new RunError('USAGE', `${path} does not hold one key`);
  return apiKey;
}

function parsePinnedKey(text: string): VerifierKey {
  try {
    return parseVerifierKey(text);
  } catch (err) {
    throw new RunError('USAGE', `${text} is not a verifier key: ${(err as Error).message}`);
  }
}

/** The code of whatever refused: the layout's reader, the store, the configuration, the command line. */
function describeFailure(err: unknown, signal: AbortSignal): SourceFailure {
  if (signal.aborted) return { code: 'SHUTTING_DOWN', message: 'the check was interrupted' };
  const { code, message, stack } = err as Partial<Error> & { readonly code?: unknown };
  return typeof code === 'string'
    ? { code, message: message ?? code }
    : { code: 'INTERNAL', message: stack ?? String(err) };
}
