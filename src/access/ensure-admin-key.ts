import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { sqlState } from '../db/admin-connection.js';
import type { Queryable } from '../ledger/read-entries.js';
import { insertApiKey, newSecret } from './api-key-store.js';
import { Role } from './principal.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Append } from './request-calls.js';

const uniqueViolation = '23505';
/** Nodes that start together can take each other's name once. */
const attemptsMax = 3;

interface AdminKeyOptions {
  readonly database: Queryable;
  readonly append: Append;
  readonly dataDir: string;
  readonly configuredKey: string | undefined;
  readonly log: Logger;
}

/**
 * Sees to it that somebody can log in: DAYBOOK_ADMIN_KEY where it is set, else a key made on the first start, kept in
 * `<dataDir>/admin.key` (mode 0600) and returned once so that it can be printed. Returns null when there was one already.
 * Nodes that start together make one.
 */
export async function ensureAdminKey(options: AdminKeyOptions): Promise<{ secret: string; file: string } | null> {
  for (let attempt = 1; ; attempt += 1) {
    const key = newSecret(options.configuredKey);
    if (await isKnown(options, key.hash)) return null;
    try {
      return await makeAdminKey(options, key);
    } catch (error) {
      if (sqlState(error) !== uniqueViolation || attempt === attemptsMax) throw error;
      // Another node made the key, or one of that name, in the meantime.
      if (options.configuredKey === undefined) await rm(fileOf(options), { force: true });
    }
  }
}

async function isKnown({ database, configuredKey }: AdminKeyOptions, hash: Buffer): Promise<boolean> {
  const known = await database.query(
    configuredKey === undefined
      ? "SELECT FROM public.api_keys WHERE role = 'ADMIN' AND revoked_at IS NULL"
      : 'SELECT FROM public.api_keys WHERE key_hash = $1',
    configuredKey === undefined ? [] : [hash],
  );
  return known.rowCount !== 0;
}

function fileOf({ dataDir }: AdminKeyOptions): string {
  return join(dataDir, 'admin.key');
}

async function makeAdminKey(
  options: AdminKeyOptions,
  key: ReturnType<typeof newSecret>,
): Promise<{ secret: string; file: string } | null> {
  const { database, configuredKey } = options;
  const id = randomUUID();
  const file = fileOf(options);
  // Written first: a crash between the two leaves a file whose key is not valid yet, and the next start makes a new one.
  if (configuredKey === undefined) await writeFile(file, `${key.secret}\n`, { mode: 0o600 });
  const taken = await database.query("SELECT FROM public.api_keys WHERE name = 'admin' AND revoked_at IS NULL");
  // Looked at once more: who took the name since the first look is the node that made the key.
  if (taken.rowCount !== 0 && configuredKey === undefined && (await isKnown(options, key.hash))) {
    await rm(file, { force: true });
    return null;
  }
  const name = taken.rowCount === 0 ? 'admin' : `admin-${id.slice(0, 8)}`;
  await options.append({
    callEntries: [
      serviceEntry({
        category: 'ADMIN',
        event: 'ApiKeyCreated',
        action: 'CREATE',
        resource: `api-key/${id}`,
        sessionId: 'start',
        details: encodeCanonicalJson({ keyRole: 'ADMIN', name, prefix: key.prefix }),
      }),
    ],
    alongside: (client) =>
      insertApiKey(client, {
        id,
        name,
        role: Role.ADMIN,
        prefix: key.prefix,
        hash: key.hash,
        createdBy: null,
        expiresAt: null,
      }),
  });
  options.log.info({ name, prefix: key.prefix }, 'the first ADMIN key was made');
  return configuredKey === undefined ? { secret: key.secret, file } : null;
}
