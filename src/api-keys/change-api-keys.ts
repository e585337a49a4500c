import { randomUUID } from 'node:crypto';
import { currentCall } from '../access/audited.js';
import { insertApiKey, markApiKeyRevoked, newSecret, type ApiKeyRow } from '../access/api-key-store.js';
import type { Role } from '../access/principal.js';
import { repeatable } from '../access/repeatable.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { timestampFromMs } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import type { RequestContext } from '../access/request-context.js';
import type { NewAuditEntry } from '../ledger/new-entries.js';

/** Makes a key and records it in the same transaction. Throws BAD_USER_INPUT for a bad name or a past expiry. */
export async function createApiKey(
  context: RequestContext,
  input: { readonly name: string; readonly role: Role; readonly expiresAt?: string | null },
): Promise<{ apiKey: ApiKeyRow; secret: string }> {
  const name = input.name.trim();
  if (name.length < 1 || name.length > 200 || !name.isWellFormed() || name.includes('\0')) {
    throw new DaybookError('BAD_USER_INPUT', 'name must have 1 to 200 characters');
  }
  const { apiKeys, clock } = context.services;
  const expiresAt = input.expiresAt ?? null;
  if (expiresAt !== null && expiresAt <= timestampFromMs(clock.nowMs())) {
    throw new DaybookError('BAD_USER_INPUT', 'expiresAt lies in the past: the key could never be used');
  }
  const { secret, hash, prefix } = newSecret();
  const key = {
    id: randomUUID(),
    name,
    role: input.role,
    prefix,
    hash,
    createdBy: context.calls.origin.actor,
    expiresAt,
  };
  await context.calls.appendWithCall(currentCall(context), {
    entries: [keyEntry(context, 'ApiKeyCreated', 'CREATE', key)],
    alongside: (client) => insertApiKey(client, key),
  });
  apiKeys.forgetLookups();
  return { apiKey: await getApiKey(context, key.id), secret };
}

/** Revokes a key and records it in the same transaction. A revoked key stays revoked. Throws NOT_FOUND. */
export async function revokeApiKey(context: RequestContext, id: string): Promise<ApiKeyRow> {
  const key = await getApiKey(context, id);
  await context.calls.appendWithCall(currentCall(context), {
    entries: [keyEntry(context, 'ApiKeyRevoked', 'DELETE', key)],
    alongside: (client) => markApiKeyRevoked(client, id, context.calls.origin.actor),
  });
  context.services.apiKeys.forgetLookups();
  return getApiKey(context, id);
}

async function getApiKey(context: RequestContext, id: string): Promise<ApiKeyRow> {
  const key = /^[0-9a-f-]{36}$/i.test(id) ? await context.services.apiKeys.read(id) : null;
  if (key === null) throw new DaybookError('NOT_FOUND', `there is no API key with id ${repeatable(id, 40)}`);
  return key;
}

function keyEntry(
  context: RequestContext,
  event: 'ApiKeyCreated' | 'ApiKeyRevoked',
  action: 'CREATE' | 'DELETE',
  key: {
    readonly id: string;
    readonly name: string;
    readonly role: Role;
    readonly prefix: string;
    readonly expiresAt: string | null;
  },
): NewAuditEntry {
  return {
    ...context.calls.origin,
    category: 'ADMIN',
    event,
    action,
    resource: `api-key/${key.id}`,
    signalId: null,
    outcome: 'OK',
    occurredAt: null,
    idempotencyKey: null,
    inputHash: null,
    details: encodeCanonicalJson({
      expiresAt: key.expiresAt ?? undefined,
      keyRole: key.role,
      name: key.name,
      prefix: key.prefix,
    }),
    oldData: null,
    newData: null,
  };
}
