import { cp } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { attachLedger } from './attach-ledger.js';
import { readConfig, type Config } from '../config.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { PackEncoding } from '../core/pack-encoding.js';
import { manifestName, parseManifestFile } from '../core/pack-manifest.js';
import { DaybookError } from '../errors.js';
import { readGenerator } from '../generator.js';
import { openConfigSnapshots } from '../open-config-snapshots.js';
import { refusalReporter } from '../open-integrity.js';
import { openPacks, packStoreOptions } from '../open-packs.js';
import { openProofs, openStore } from '../open-proofs.js';
import { parseRecipients } from '../packs/age.js';
import { createPack, packFolderName } from '../packs/create-packs.js';
import { fetchPack } from '../packs/fetch-pack.js';
import { openPackFile } from '../packs/open-pack-file.js';
import type { PackServices } from '../packs/pack-services.js';
import type { PackRow } from '../packs/read-packs.js';
import { removeStoredPacks, storePacks } from '../packs/store-packs.js';
import { buildDaybookSchema } from '../schema.js';
import { gunzip } from '../verifier/gunzip.js';
import { ProgressLine } from '../verifier/progress-line.js';
import { commandOrigin, runCommand } from './run-command.js';
import { readIdentities } from './verify-pack.js';

interface PackCommandOptions {
  readonly date: string;
  readonly partial?: boolean;
  readonly out?: string;
  readonly compress?: boolean;
  readonly encryptTo?: readonly string[];
  readonly retentionDays?: string;
  readonly json?: boolean;
}

/**
 * `daybook pack`: makes the evidence pack of a day, as the service does by itself after midnight, and of earlier days that
 * have none. Safe beside a running service. Exit code 0: done; 1: it failed.
 */
export function addPackCommand(program: Command): void {
  program
    .command('pack')
    .description('make the evidence pack of a day (UTC), and of earlier days that have none')
    .requiredOption('--date <date>', 'the day, as in 2026-11-20')
    .option('--partial', 'for a day that has not ended: what there is so far')
    .option('--out <folder>', 'copy the pack into this folder, which must not exist')
    .option('--compress', 'compress its files with gzip, whatever DAYBOOK_PACK_COMPRESSION says')
    .option('--encrypt-to <keys...>', 'encrypt to these age public keys instead of DAYBOOK_PACK_RECIPIENTS_FILE')
    .option(
      '--retention-days <days>',
      'afterwards copy packs to the store, and remove from here those of days longer ago that it holds; instead of DAYBOOK_PACK_RETENTION_DAYS',
    )
    .option('--json', 'print {"pack": {...}, "folder": "...", "removed": [...]} or {"error": {"code", "message"}}')
    .action(async (options: PackCommandOptions) => {
      await runCommand({ json: options.json }, async (signal) => {
        const made = await makePack(options, signal);
        return { result: made, text: describe(made) };
      });
    });
  program
    .command('fetch-pack')
    .description('bring the pack of a day back from the object store, each file checked against its manifest')
    .requiredOption('--date <date>', 'the day, as in 2026-11-20')
    .requiredOption('--out <folder>', 'the folder to make')
    .option('--plain', 'write the files as they were before they were compressed')
    .option('--identity <file>', 'write them as they were before they were encrypted to one of these age keys')
    .action(async (options: FetchCommandOptions) => {
      await runCommand({}, async () => {
        await fetchDay(options);
        return { result: {}, text: `${options.out}\n` };
      });
    });
}

interface FetchCommandOptions {
  readonly date: string;
  readonly out: string;
  readonly plain?: boolean;
  readonly identity?: string;
}

interface Made {
  readonly pack: PackRow;
  readonly folder: string;
  readonly removed: readonly string[];
}

async function makePack(options: PackCommandOptions, signal: AbortSignal): Promise<Made> {
  const days = parseDays(options.retentionDays);
  const { compress = false, encryptTo } = options;
  const recipients =
    encryptTo === undefined ? null : parseRecipients(encryptTo.join('\n'), '--encrypt-to', 'BAD_USER_INPUT');
  await using stack = new AsyncDisposableStack();
  const ledger = await attachLedger(stack, 'daybook pack', signal);
  const { append, pool, log, urls } = ledger;
  const onRefusal = refusalReporter({ pool, append, log });
  const proofs = await openProofs({ ...ledger, url: urls.application, onRefusal }, stack);
  const configSnapshots = openConfigSnapshots({ ...ledger, schema: buildDaybookSchema() });
  const parts = {
    ...ledger,
    readerUrl: urls.auditor,
    proofs,
    snapshotConfig: (reason: string) => configSnapshots.takeForPack({ reason, origin: commandOrigin('pack'), append }),
    generator: readGenerator(),
  };
  const services = await openPacks(parts);
  const encoding: PackEncoding = {
    compression: compress ? 'gzip' : services.encoding.compression,
    recipients: recipients ?? services.encoding.recipients,
  };
  const progress = new ProgressLine(process.stderr);
  try {
    const pack = await createPack(services, {
      date: options.date,
      kind: options.partial === true ? 'PARTIAL' : 'DAY',
      encoding,
      origin: commandOrigin('pack'),
      signal,
      onProgress: (_date, checked, total) => progress.update({ checked, total }),
    });
    if (compress || recipients !== null) await assertEncoded(services, pack, encoding);
    const folder = await copyOut(join(services.folder, packFolderName(pack)), options.out);
    const keepDays = days ?? ledger.config.packs.retentionDays;
    return { pack, folder, removed: await storeAndRemove(parts, { keepDays, made: pack.date }, signal) };
  } finally {
    progress.stop();
  }
}

/** A pack that was there before is never edited: whoever asked for it encrypted must not take it for that. */
async function assertEncoded(services: PackServices, pack: PackRow, expected: PackEncoding): Promise<void> {
  const { chunks } = await openPackFile(services, pack, manifestName);
  const { manifest } = parseManifestFile(await text(chunks));
  if (encodeCanonicalJson(manifest.encoding) === encodeCanonicalJson(expected)) return;
  throw new DaybookError(
    'BAD_USER_INPUT',
    `the pack of ${pack.date} is there already, compressed or encrypted in another way, and packs are never edited`,
  );
}

async function storeAndRemove(
  parts: Parameters<typeof packStoreOptions>[0],
  { keepDays, made }: { readonly keepDays: number; readonly made: string },
  signal: AbortSignal,
): Promise<string[]> {
  const store = packStoreOptions(parts);
  if (store === null) return [];
  await storePacks(store, signal);
  const today = new Date(parts.clock.nowMs()).toISOString().slice(0, 10);
  return removeStoredPacks({ ...store, keepDays, spare: made }, today);
}

async function copyOut(folder: string, out: string | undefined): Promise<string> {
  if (out === undefined) return folder;
  await cp(folder, resolve(out), { recursive: true, errorOnExist: true, force: false });
  return resolve(out);
}

async function fetchDay({ date, out, plain = false, identity }: FetchCommandOptions): Promise<void> {
  const config: Config = readConfig();
  const identities = identity === undefined ? {} : await readIdentities(identity);
  const decoders = plain || identity !== undefined ? { gzip: gunzip, ...identities } : null;
  const store = openStore(config);
  if (store === null) throw new DaybookError('CONFIG_INVALID', 'DAYBOOK_ANCHOR_STORE is off: there is no object store');
  try {
    await fetchPack({ store, date, folder: resolve(out), decoders });
  } finally {
    await store[Symbol.asyncDispose]();
  }
}

function parseDays(given: string | undefined): number | null {
  if (given === undefined) return null;
  if (!/^[1-9]\d{0,4}$/.test(given)) {
    throw new DaybookError('BAD_USER_INPUT', `--retention-days must be a number of days from 1 on, not ${given}`);
  }
  return Number(given);
}

function describe({ pack, folder, removed }: Made): string {
  const { date, kind, signals, auditEntries, manifestSha256 } = pack;
  const left = removed.length === 0 ? '' : `removed here, kept in the store: ${removed.join(', ')}\n`;
  return `${date} (${kind}): ${signals} signals, ${auditEntries} audit entries, manifest ${manifestSha256}\n${folder}\n${left}`;
}
