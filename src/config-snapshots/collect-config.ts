import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Queryable } from '../ledger/read-entries.js';
import type { Redactor } from '../access/redact.js';
import { codeOf, findConfigFiles } from './find-config-files.js';
import { readConfigFiles, type ReadOptions } from './read-config-files.js';
import { redactConfigText } from './redact-config-text.js';
import { SecretNames } from './secret-names.js';
import { byPath, fileWithout, fileWithText, settingsFolder, type CollectedFile } from './snapshot-file.js';

/** Files of `NAME=value` lines: a change of one is a change of the settings in it. */
export const settingsFiles = {
  environment: `${settingsFolder}/environment`,
  postgresql: `${settingsFolder}/postgresql`,
  program: `${settingsFolder}/program`,
} as const;
const schemaFile = `${settingsFolder}/schema.graphql`;
const lockFile = `${settingsFolder}/package-lock.json`;

/** Where the effective configuration of a node comes from. */
export interface ConfigSources extends Omit<ReadOptions, 'redactor' | 'names'> {
  /** The service's settings by variable, defaults included, as they came. */
  readonly environment: Readonly<Record<string, string>>;
  /** Facts about the program: its version, its git commit. */
  readonly program: Readonly<Record<string, string>>;
  /** The printed GraphQL schema. */
  readonly schemaText: string;
  /** Absolute path of the package-lock.json that the program was installed by; null where none is known. */
  readonly lockFile: string | null;
}

/** Settings by which a server differs from PostgreSQL's defaults; what a session set for itself is not the server's. */
const serverSettings = `
  SELECT name, setting AS value FROM pg_catalog.pg_settings
  WHERE source NOT IN ('default', 'client', 'session', 'interactive', 'test') OR name IN ('server_version', 'server_encoding')
  ORDER BY name COLLATE "C"`;

/** Everything that makes up the configuration now, by path. Throws what the database throws, and nothing else. */
export async function collectConfig(
  sources: ConfigSources,
  redactor: Redactor,
  database: Queryable,
): Promise<CollectedFile[]> {
  const names = new SecretNames(redactor);
  const settings = (path: string, values: Readonly<Record<string, string>>) =>
    settingsFile(path, values, redactor, names);
  const server = await database.query<{ name: string; value: string | null }>(serverSettings);
  const found = await findConfigFiles(sources);
  const files = await readConfigFiles({ ...sources, redactor, names }, found.files);
  const schema = Buffer.from(sources.schemaText);
  return [
    ...files,
    ...found.refused.map(({ path, state, note }) => fileWithout(path, state, note)),
    settings(settingsFiles.environment, sources.environment),
    settings(
      settingsFiles.postgresql,
      Object.fromEntries(server.rows.map(({ name, value }) => [name, value ?? ''] as const)),
    ),
    settings(settingsFiles.program, sources.program),
    fileWithText(schemaFile, factsOf(schema), { text: sources.schemaText, redactions: 0 }),
    await readLockFile(sources.lockFile),
  ].sort((left, right) => byPath(left.file, right.file));
}

/** One line for each setting, in the order of their names; values of secret names are marks, line breaks stand as `\n`. */
function settingsFile(
  path: string,
  values: Readonly<Record<string, string>>,
  redactor: Redactor,
  names: SecretNames,
): CollectedFile {
  let redactions = 0;
  const lines = Object.keys(values)
    .sort()
    .map((name) => {
      const value = values[name] ?? '';
      const secret = value !== '' && names.isSecret(name);
      const redacted = secret
        ? { text: redactor.mark(value), redactions: 1 }
        : redactConfigText(value, redactor, names);
      redactions += redacted.redactions;
      return `${name}=${redacted.text.replaceAll('\\', '\\\\').replaceAll('\r', '\\r').replaceAll('\n', '\\n')}\n`;
    });
  const text = lines.join('');
  // Of the redacted text: short secrets could be guessed from a hash of the settings as they are.
  return fileWithText(path, factsOf(Buffer.from(text)), { text, redactions });
}

/** The values of a settings file by name, still redacted. */
export function parseSettings(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line.includes('='));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

/** By its hash alone: what it says is known from where its packages come from. */
async function readLockFile(location: string | null): Promise<CollectedFile> {
  if (location === null) return fileWithout(lockFile, 'MISSING', 'not there');
  try {
    return fileWithout(lockFile, 'LARGE', 'kept by its hash', factsOf(await readFile(location)));
  } catch (error) {
    const code = codeOf(error);
    return fileWithout(lockFile, code === 'ENOENT' ? 'MISSING' : 'UNREADABLE', code);
  }
}

function factsOf(bytes: Buffer): { readonly hash: string; readonly size: number } {
  return { hash: hash('sha256', bytes, 'hex'), size: bytes.length };
}
