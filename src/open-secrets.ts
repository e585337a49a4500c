import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { ApiKeyStore } from './access/api-key-store.js';
import { KeyRing } from './access/key-ring.js';
import type { Append } from './access/request-calls.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import type { Rotator, SecretType } from './core/rotation.js';
import type { Login } from './db/login.js';
import { DaybookError } from './errors.js';
import { logNames } from './ledger/rows.js';
import { readStoredLogin } from './open-ledger-database.js';
import { openRootKey } from './open-root-key.js';
import { isKeyOutOfReach, type RootKey } from './access/root-key.js';
import { SigningKeyRotator } from './proofs/signing-key-rotator.js';
import type { SigningKeys } from './proofs/signing-keys.js';
import { applicationLoginName, LoginFollower } from './secrets/application-login.js';
import { registerSecret } from './secrets/register-secret.js';
import { serviceSecretOrigin } from './secrets/secret-entries.js';
import type { SecretServices } from './secrets/secret-services.js';
import { readSecrets } from './secrets/secret-store.js';
import { ApiKeyRotator } from './secrets/rotators/api-key-rotator.js';
import { DatabaseRotator } from './secrets/rotators/database-rotator.js';
import { OauthRotator } from './secrets/rotators/oauth-rotator.js';
import { WebhookRotator } from './secrets/rotators/webhook-rotator.js';
import { EncryptionKeyRotator } from './secrets/rotators/encryption-key-rotator.js';
import { OwnLoginRotator } from './secrets/rotators/own-login-rotator.js';

export interface SecretParts {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly pool: pg.Pool;
  readonly append: Append;
  readonly apiKeys: ApiKeyStore;
  readonly keys: SigningKeys;
  readonly urls: { readonly superuser: string };
  readonly login: Login;
}

/** What rotates secrets on this node. Those of the service itself are registered on its first start. */
export async function openSecrets(
  parts: SecretParts,
): Promise<{ readonly secrets: SecretServices; readonly loginFollower: LoginFollower }> {
  const { config, pool, append, apiKeys, keys, clock, log, login } = parts;
  const root = await openRootKey(config);
  const ring = await KeyRing.open(pool, root);
  const adminUrl = parts.urls.superuser;
  const readAsAdministrator = () => readStoredLogin(config, adminUrl, log);
  const loginFollower = new LoginFollower({ database: pool, ring, login, readAsAdministrator, log });
  const list: readonly Rotator[] = [
    new DatabaseRotator(new OwnLoginRotator({ adminUrl, login, follower: loginFollower })),
    new EncryptionKeyRotator({ database: pool, ring }),
    new SigningKeyRotator(keys),
    new ApiKeyRotator({ database: pool, append, apiKeys }),
    new OauthRotator(),
    new WebhookRotator(clock),
  ];
  const rotators = new Map<SecretType, Rotator>(list.map((rotator) => [rotator.type, rotator]));
  const node = `${hostname()} ${randomUUID()}`;
  const { driftCheckMs } = config;
  const services = { database: pool, append, ring, wrapped: [keys, ring], rotators, node, driftCheckMs, clock, log };
  await registerOwn(services);
  await tellOfFormerRootKeys(pool, root, log);
  return { secrets: services, loginFollower };
}

/** Nodes that start together register each once. */
async function registerOwn(services: SecretServices): Promise<void> {
  const { log } = services;
  const own: readonly (readonly [SecretType, string])[] = [
    ['DATABASE', applicationLoginName],
    ['ENCRYPTION_KEY', 'data-keys'],
    ...logNames.map((name) => ['SIGNING_KEY', name] as const),
  ];
  const known = new Set((await readSecrets(services.database)).map(({ type, name }) => `${type} ${name}`));
  for (const [type, name] of own.filter(([type, name]) => !known.has(`${type} ${name}`))) {
    const origin = serviceSecretOrigin(randomUUID());
    try {
      await registerSecret(services, { type, name, settings: {}, value: null, credential: null, origin });
    } catch (error) {
      // A node serves without its root key; the next start registers what is missing.
      if (isKeyOutOfReach(error)) {
        log.warn({ type, name, code: error.code }, 'a secret of the service cannot be registered without its root key');
        return;
      }
      if (!(error instanceof DaybookError)) throw error;
      // Whoever registers by hand what this node cannot rotate is told why.
      if (error.code === 'SECRET_REFUSED') log.debug({ type, name, reason: error.message }, 'a secret is not rotated');
      else if (error.code !== 'BAD_USER_INPUT') throw error;
    }
  }
}

/** A node serves without its root key: what needs it is refused, and the reason is in the log. */
async function tellOfFormerRootKeys(pool: pg.Pool, root: RootKey, log: Logger): Promise<void> {
  try {
    const found = await pool.query<{ keys: number }>(
      `SELECT count(*)::integer AS keys FROM (
         SELECT root_key_id AS root FROM public.encryption_keys WHERE wrapped IS NOT NULL
         UNION ALL SELECT master_key_id FROM public.signing_keys WHERE valid_until IS NULL) AS wrapped
       WHERE root <> $1`,
      [await root.id()],
    );
    const keys = found.rows[0]?.keys ?? 0;
    if (keys > 0)
      log.warn({ keys }, 'keys are wrapped by another root key: daybook secrets rewrap has this one wrap them');
  } catch (error) {
    if (!isKeyOutOfReach(error)) throw error;
    log.error({ code: error.code }, `the root key is out of reach: ${error.message}`);
  }
}
