import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { Queryable } from '../ledger/read-entries.js';
import { insertApiKey, newSecret } from './api-key-store.js';
import { Role } from './principal.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Append } from './request-calls.js';

/**
 * Sees to it that somebody can log in: DAYBOOK_ADMIN_KEY where it is set, else a key made on the first start, kept in
 * `<dataDir>/admin.key` (mode 0600) and returned once so that it can be printed. Returns null when there was one already.
 */
export async function ensureAdminKey(options: {
  readonly database: Queryable;
  readonly append: Append;
  readonly dataDir: string;
  readonly configuredKey: string | undefined;
  readonly log: Logger;
}): Promise<{ secret: string; file: string } | null> {
  const { database, configuredKey } = options;
  const key = newSecret(configuredKey);
  const known = await database.query(
    configuredKey === undefined
      ? "SELECT FROM public.api_keys WHERE role = 'ADMIN' AND revoked_at IS NULL"
      : 'SELECT FROM public.api_keys WHERE key_hash = $1',
    configuredKey === undefined ? [] : [key.hash],
  );
  if (known.rowCount !== 0) return null;

  const id = randomUUID();
  const file = join(options.dataDir, 'admin.key');
  // Written first: a crash between the two leaves a file whose key is not valid yet, and the next start makes a new one.
  if (configuredKey === undefined) await writeFile(file, `${key.secret}\n`, { mode: 0o600 });
  const taken = await database.query("SELECT FROM public.api_keys WHERE name = 'admin' AND revoked_at IS NULL");
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
