import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Append } from '../access/request-calls.js';
import type { Redactor } from '../access/redact.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin, type NewAuditEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { collectConfig, settingsFiles, type ConfigSources } from './collect-config.js';
import { compareConfigs, type ConfigChange } from './compare-configs.js';
import { diffSnapshots } from './diff-snapshots.js';
import type { DiffOptions } from './diff-texts.js';
import {
  getSnapshot,
  readContents,
  readFileLists,
  readLatestSnapshot,
  type ConfigSnapshotRow,
  type SnapshotOccasion,
} from './read-snapshots.js';
import { byPath, fileWithout, hashFiles, type CollectedFile, type SnapshotFile } from './snapshot-file.js';

const reasonLengthMax = 1_000;
/** How often a snapshot is compared anew after another process of the node took one meanwhile. */
const attemptsMax = 20;
/** Longest value of a setting that an entry repeats, in characters. */
const valueLengthMax = 1_000;

export interface ConfigSnapshotParts {
  /** The application role's pool. */
  readonly database: Queryable;
  /** The writer's append, or that of the call under way. */
  readonly append: Append;
  readonly redactor: Redactor;
  readonly sources: ConfigSources;
  readonly diff: DiffOptions;
  /** Host and data folder. */
  readonly node: string;
  readonly occasion: SnapshotOccasion;
  readonly origin: CallOrigin;
}

/** A snapshot as evidence packs and the command line show it. Hashes are lower-case hex or keyed marks. */
export interface ConfigSnapshot {
  readonly snapshot_id: string;
  /** RFC 3339, by the clock of the database. */
  readonly timestamp: string;
  readonly reason: string;
  readonly occasion: SnapshotOccasion;
  readonly node: string;
  readonly taken_by: string;
  readonly files_hash: string;
  readonly previous_snapshot_id: string | null;
  readonly files: Readonly<
    Record<
      string,
      {
        readonly hash: string | null;
        readonly size: number | null;
        readonly state: string;
        readonly content_hash: string | null;
        readonly redactions: number;
        readonly note: string | null;
      }
    >
  >;
  /** Number of changed files and settings since the previous snapshot; each has its ConfigChanged entry. */
  readonly changes: number;
  /** Unified diff by path against the previous snapshot. */
  readonly diffs: Readonly<Record<string, string>>;
  /** Null where there was nothing to compare. */
  readonly diffs_made_by: string | null;
}

/**
 * Takes a snapshot and describes it with what changed since the one before. Throws BAD_USER_INPUT for an unusable reason and
 * what database and append throw; a file that cannot be read is in the snapshot as such.
 */
export async function takeConfigSnapshot(parts: ConfigSnapshotParts, reason: string): Promise<ConfigSnapshot> {
  return describeSnapshot(parts, await recordConfigSnapshot(parts, reason));
}

/**
 * Takes a snapshot. Its row, new lists of files and texts, its `ConfigSnapshotTaken` entry and one `ConfigChanged` entry for each
 * file and setting that changed commit in one transaction: a crash leaves all or nothing. Throws as `takeConfigSnapshot`.
 */
export async function recordConfigSnapshot(parts: ConfigSnapshotParts, reason: string): Promise<ConfigSnapshotRow> {
  const checked = checkReason(parts.redactor.redactText(reason.trim()));
  const collected = await collectConfig(parts.sources, parts.redactor, parts.database);
  for (let attempt = 1; ; attempt += 1) {
    const plan = await planSnapshot(parts, checked, collected);
    try {
      await parts.append({ entries: plan.entries, alongside: (client) => insertSnapshot(client, plan) });
      return await getSnapshot(parts.database, plan.id);
    } catch (error) {
      if (attempt === attemptsMax || !isLostRace(error)) throw error;
    }
  }
}

/** A recorded snapshot in the form of evidence packs. */
export async function describeSnapshot(
  { database, diff }: Pick<ConfigSnapshotParts, 'database' | 'diff'>,
  row: ConfigSnapshotRow,
): Promise<ConfigSnapshot> {
  const files = (await readFileLists(database, [row.filesHash])).get(row.filesHash) ?? [];
  const previous = row.previousId === null ? null : await getSnapshot(database, row.previousId);
  const compared = previous === null ? null : await diffSnapshots(database, previous, row, diff);
  return {
    snapshot_id: row.id,
    timestamp: row.takenAt,
    reason: row.reason,
    occasion: row.occasion,
    node: row.node,
    taken_by: row.takenBy,
    files_hash: row.filesHash,
    previous_snapshot_id: row.previousId,
    files: Object.fromEntries(
      files.map(({ path, hash, mark, size, state, contentHash, redactions, note }) => [
        path,
        { hash: hash ?? mark, size, state, content_hash: contentHash, redactions, note },
      ]),
    ),
    changes: row.changes,
    diffs: Object.fromEntries(compared?.diffs ?? []),
    diffs_made_by: compared?.madeBy ?? null,
  };
}

interface SnapshotPlan {
  readonly id: string;
  readonly takenBy: string;
  readonly parts: ConfigSnapshotParts;
  readonly reason: string;
  readonly filesHash: string;
  readonly previousId: string | null;
  readonly changes: number;
  readonly files: readonly CollectedFile[];
  readonly entries: readonly NewAuditEntry[];
}

/** What has to be written so that the snapshot follows the newest one of the node. */
async function planSnapshot(
  parts: ConfigSnapshotParts,
  reason: string,
  collected: readonly CollectedFile[],
): Promise<SnapshotPlan> {
  const { database, node, origin } = parts;
  const id = randomUUID();
  const previous = await readLatestSnapshot(database, node);
  const earlier =
    previous === null ? [] : ((await readFileLists(database, [previous.filesHash])).get(previous.filesHash) ?? []);
  const gone = previous?.node === node ? disappeared(earlier, collected) : [];
  const files = [...collected, ...gone].sort((left, right) => byPath(left.file, right.file));
  const filesHash = hashFiles(files.map(({ file }) => file));
  const changes = previous === null ? [] : await findChanges(database, earlier, files);
  const taken = configEntry(origin, 'ConfigSnapshotTaken', 'CREATE', `config-snapshot/${id}`, {
    changes: changes.length,
    files: files.length,
    filesHash,
    node,
    occasion: parts.occasion,
    previousSnapshot: previous?.id,
    reason,
    snapshot: id,
  });
  return {
    id,
    takenBy: origin.actor ?? 'unknown',
    parts,
    reason,
    filesHash,
    previousId: previous?.id ?? null,
    changes: changes.length,
    files,
    entries: [taken, ...changes.map((change) => changeEntry(origin, id, change))],
  };
}

/** Files that a pattern found last time and nobody names any more are missing once, so that the snapshot shows it. */
function disappeared(earlier: readonly SnapshotFile[], collected: readonly CollectedFile[]): CollectedFile[] {
  const present = new Set(collected.map(({ file }) => file.path));
  return earlier
    .filter(({ path, state }) => !present.has(path) && state !== 'MISSING')
    .map(({ path }) => fileWithout(path, 'MISSING', 'no longer found'));
}

async function findChanges(
  database: Queryable,
  earlier: readonly SnapshotFile[],
  files: readonly CollectedFile[],
): Promise<ConfigChange[]> {
  const settings: ReadonlySet<string> = new Set(Object.values(settingsFiles));
  const stored = await readContents(
    database,
    earlier.flatMap(({ path, contentHash }) => (settings.has(path) ? (contentHash ?? []) : [])),
  );
  const collected = new Map(files.map(({ file, content }) => [file.path, content]));
  return compareConfigs(
    { files: earlier, contentOf: ({ contentHash }) => stored.get(contentHash ?? '') ?? null },
    { files: files.map(({ file }) => file), contentOf: ({ path }) => collected.get(path) ?? null },
  );
}

/** `oldHash` and `newHash` name both sides; `oldValue` and `newValue` are redacted values, or the hashes of a file. */
function changeEntry(origin: CallOrigin, snapshot: string, change: ConfigChange): NewAuditEntry {
  const { path, setting, before, after } = change;
  const shown = (side: ConfigChange['before']) =>
    side.value?.slice(0, valueLengthMax).toWellFormed() ?? side.hash ?? side.state ?? undefined;
  return configEntry(
    origin,
    'ConfigChanged',
    'UPDATE',
    (setting === null ? path : `${path} ${setting}`).slice(0, 1_000),
    {
      configType: setting === null ? 'file' : path.slice(path.indexOf('/') + 1),
      filePath: path,
      newHash: after.hash ?? undefined,
      newState: after.state ?? 'ABSENT',
      newValue: shown(after),
      oldHash: before.hash ?? undefined,
      oldState: before.state ?? 'ABSENT',
      oldValue: shown(before),
      setting: setting ?? undefined,
      snapshot,
    },
  );
}

function configEntry(
  origin: CallOrigin,
  event: string,
  action: 'CREATE' | 'UPDATE',
  resource: string,
  details: Readonly<Record<string, unknown>>,
): NewAuditEntry {
  return serviceEntry({
    ...origin,
    category: 'CONFIG',
    event,
    action,
    resource,
    details: encodeCanonicalJson(details),
  });
}

/** In the transaction of the entries. Lists and texts that are there already are left alone. */
async function insertSnapshot(client: pg.Client, plan: SnapshotPlan): Promise<void> {
  const { id, takenBy, parts, reason, filesHash, previousId, changes, files } = plan;
  // First of all, so that a lost race costs nothing.
  await client.query(
    `INSERT INTO public.config_snapshots (id, taken_by, node, occasion, reason, files_hash, previous_id, changes)
     VALUES ($1, $2, $3, $4, $5, decode($6, 'hex'), $7, $8)`,
    [id, takenBy, parts.node, parts.occasion, reason, filesHash, previousId, changes],
  );
  const known = await client.query('SELECT FROM public.config_snapshot_files WHERE files_hash = $1 LIMIT 1', [
    Buffer.from(filesHash, 'hex'),
  ]);
  if (known.rowCount === 1) return;
  const column = <Key extends keyof SnapshotFile>(key: Key) => files.map(({ file }) => file[key]);
  const texts = files.filter(({ content }) => content !== null);
  await client.query(
    `INSERT INTO public.config_contents (content_hash, content)
     SELECT decode(hash, 'hex'), content FROM unnest($1::text[], $2::text[]) AS new (hash, content)
     ON CONFLICT DO NOTHING`,
    [texts.map(({ file }) => file.contentHash), texts.map(({ content }) => content)],
  );
  await client.query(
    `INSERT INTO public.config_snapshot_files
       (files_hash, path, state, hash, mark, size, content_hash, redactions, note)
     SELECT decode($1, 'hex'), path, state, decode(hash, 'hex'), mark, size, decode(content_hash, 'hex'), redactions, note
     FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::integer[], $9::text[])
       AS new (path, state, hash, mark, size, content_hash, redactions, note)`,
    [
      filesHash,
      ...[column('path'), column('state'), column('hash'), column('mark'), column('size')],
      ...[column('contentHash'), column('redactions'), column('note')],
    ],
  );
}

function checkReason(reason: string): string {
  if (reason.length >= 1 && [...reason].length <= reasonLengthMax) return reason;
  throw new DaybookError('BAD_USER_INPUT', `the reason must have 1 to ${reasonLengthMax} characters`);
}

/** Another process of this node took a snapshot since the plan was made. Nothing was recorded. */
function isLostRace(error: unknown): boolean {
  if (!(error instanceof DaybookError)) return false;
  const { constraint } = (error.cause ?? {}) as { constraint?: unknown };
  return constraint === 'config_snapshots_one_successor';
}
