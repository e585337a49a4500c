import { randomUUID } from 'node:crypto';
import { KeyRing, type DataKey } from '../../src/access/key-ring.js';
import type { SecretType, SecretVersion } from '../../src/core/rotation.js';
import { verifyNote } from '../../src/core/signed-note.js';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { canLogIn, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { openRootKey } from '../../src/open-root-key.js';
import { getSecret, readVersion } from '../../src/secrets/secret-store.js';
import { startOpenidProvider, type OpenidProvider, type RegisteredClient } from './openid-provider.js';
import { startRotationHook, type RotationHook } from './rotation-hook.js';
import type { SqlSession } from './sql-session.js';
import { getTestServer } from './test-server.js';
import { callGraphql, type TestService } from './test-service.js';

/** One kind of secret as the tests of crashes know it: a row of their table. */
export interface RotatedTarget {
  readonly type: SecretType;
  readonly name: string;
  /** Makes the target, and registers the secret where the service does not do so itself. `owned` takes over what has to be ended. */
  readonly prepare: (service: TestService, owned: AsyncDisposableStack) => Promise<void>;
  /** Uses a value as its users do; false where it is refused. */
  readonly works: (service: TestService, version: SecretVersion) => Promise<boolean>;
  /** Generations that the target was ever given, one row for each time it was: nothing is to occur twice. */
  readonly given: (superuser: SqlSession) => Promise<number[]>;
  /** Generations that are valid at the target now. */
  readonly valid: (superuser: SqlSession) => Promise<number[]>;
  /** Whether old and new value are valid at once: then it can be rolled back, and works at every moment. */
  readonly hasTwoPlaces: boolean;
}

const numbers = async (session: SqlSession, sql: string): Promise<number[]> =>
  (await session.run(sql)).map(({ generation }) => Number(generation));

async function register(url: string, input: object): Promise<void> {
  const query = 'mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status } } }';
  const { errors } = await callGraphql(url, query, { input });
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
}

const apiKeyName = 'a key that rotates';

export const apiKeyTarget: RotatedTarget = {
  type: 'API_KEY',
  hasTwoPlaces: true,
  name: apiKeyName,
  prepare: async ({ url }) => {
    const made = await callGraphql(
      url,
      'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }',
      { input: { name: apiKeyName, role: 'ANALYST' } },
    );
    const input = {
      secretType: 'API_KEY',
      secretName: apiKeyName,
      settings: [{ name: 'quietSeconds', value: '0' }],
      value: (made.data?.createApiKey as { secret: string }).secret,
    };
    await register(url, input);
  },
  works: async ({ context }, { value }) => {
    const { apiKeys } = context.services;
    apiKeys.forgetLookups();
    return (await apiKeys.authenticate(Buffer.from(value ?? []).toString()))?.name === apiKeyName;
  },
  given: (session) =>
    numbers(session, `SELECT generation FROM public.api_keys WHERE name = '${apiKeyName}' ORDER BY generation`),
  valid: (session) =>
    numbers(session, `SELECT generation FROM public.api_keys WHERE name = '${apiKeyName}' AND revoked_at IS NULL`),
};

const signingKeyTarget: RotatedTarget = {
  type: 'SIGNING_KEY',
  hasTwoPlaces: true,
  name: 'signals',
  prepare: () => Promise.resolve(),
  works: async ({ context }, { facts }) => {
    const { keys } = context.services.proofs;
    await keys.refresh();
    const text = 'a note\nof this test\n';
    const note = { text, signatures: keys.sign('signals', text) };
    return verifyNote(note, [parseVerifierKey(String(facts.verifierKey))]).status === 'verified';
  },
  given: (session) =>
    numbers(session, "SELECT generation FROM public.signing_keys WHERE log = 'signals' ORDER BY generation"),
  valid: (session) =>
    numbers(session, "SELECT generation FROM public.signing_keys WHERE log = 'signals' AND valid_until IS NULL"),
};

const sealed = { text: 'a value that was sealed before every rotation', context: 'a canary of this test' };
/** More than are wrapped anew in one transaction, so that there is a place in the middle. */
const dataKeysMin = 1_100;
/** The sealed value of a service under test. */
const canaries = new WeakMap<TestService, { readonly id: string; readonly sealedValue: string }>();

export const encryptionKeyTarget: RotatedTarget = {
  type: 'ENCRYPTION_KEY',
  hasTwoPlaces: true,
  name: 'data-keys',
  prepare: async (service) => {
    const { ring, database } = service.context.services.secrets;
    const made = await Promise.all(
      Array.from({ length: dataKeysMin }, () => ring.seal(Buffer.from(sealed.text), sealed.context)),
    );
    await database.query(
      `INSERT INTO public.data_keys (id, generation, wrapped)
       SELECT id, generation, decode(wrapped, 'hex') FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS made (id, generation, wrapped)`,
      [
        made.map(({ dataKey }) => dataKey.id),
        made.map(({ dataKey }) => dataKey.generation),
        made.map(({ dataKey }) => dataKey.wrapped),
      ],
    );
    const [{ sealedValue, dataKey }] = made as [(typeof made)[number]];
    canaries.set(service, { id: dataKey.id, sealedValue });
  },
  works: async (service) => {
    const { database } = service.context.services;
    const { id, sealedValue } = canaries.get(service)!;
    const readKey = async () =>
      (await database.query<DataKey>('SELECT id, generation, wrapped FROM public.data_keys WHERE id = $1', [id]))
        .rows[0]!;
    for (;;) {
      const dataKey = await readKey();
      const ring = await KeyRing.open(database, await openRootKey(service.context.config));
      try {
        return Buffer.from(await ring.open({ sealedValue, dataKey }, sealed.context)).toString() === sealed.text;
      } catch (error) {
        // It was wrapped anew since it was read.
        if ((await readKey()).wrapped === dataKey.wrapped) throw error;
      }
    }
  },
  given: (session) => numbers(session, 'SELECT generation FROM public.encryption_keys ORDER BY generation'),
  valid: (session) => numbers(session, 'SELECT generation FROM public.encryption_keys WHERE wrapped IS NOT NULL'),
};

const webhookName = 'a value that is elsewhere';
const firstValue = 'the value that the target has first';
const callKey = 'a key that only the two sides have';
/** The target of a service under test. */
let hook: RotationHook | undefined;

/** Values that the target was given, by generation; a call that came again is the same call. */
function hookValues(): Map<number, string> {
  const calls = hook?.calls.filter(({ step, value }) => step === 'set' && value !== undefined) ?? [];
  return new Map([[1, firstValue], ...calls.map(({ generation, value = '' }) => [generation, value] as const)]);
}

const webhookTarget: RotatedTarget = {
  type: 'WEBHOOK',
  hasTwoPlaces: true,
  name: webhookName,
  prepare: async ({ url }, owned) => {
    hook = owned.use(await startRotationHook({ signingKey: callKey, value: firstValue, places: 2 }));
    const input = {
      secretType: 'WEBHOOK',
      secretName: webhookName,
      settings: [{ name: 'url', value: hook.url }],
      value: firstValue,
      credential: callKey,
    };
    await register(url, input);
  },
  works: (_service, { value }) => Promise.resolve(hook?.lets(Buffer.from(value ?? []).toString()) === true),
  given: () => Promise.resolve([...hookValues().keys()].sort((one, other) => one - other)),
  valid: () =>
    Promise.resolve([...hookValues()].filter(([, value]) => hook?.lets(value)).map(([generation]) => generation)),
};

const loginRoles = {
  id: `desk_${randomUUID().slice(0, 8)}`,
  administrator: 'administers-the-desk',
  first: 'first-of-the-desk',
};
const loginNames = [`${loginRoles.id}_a`, `${loginRoles.id}_b`] as const;

const asSuperuser = (sql: string) => withConnection(getTestServer().adminUrl, (admin) => admin.query(sql));

/** The login of another program, at a server that belongs to it: two roles take turns. */
const databaseTarget: RotatedTarget = {
  type: 'DATABASE',
  hasTwoPlaces: true,
  name: loginRoles.id,
  prepare: async (service, owned) => {
    const { id, administrator, first } = loginRoles;
    await asSuperuser(
      `CREATE ROLE ${id} LOGIN CREATEROLE PASSWORD '${administrator}'; SET ROLE ${id};
       CREATE ROLE ${id}_group; CREATE ROLE ${loginNames[0]} LOGIN PASSWORD '${first}' IN ROLE ${id}_group;
       CREATE ROLE ${loginNames[1]} NOLOGIN IN ROLE ${id}_group`,
    );
    owned.defer(async () => void (await asSuperuser(`DROP ROLE ${[...loginNames, `${id}_group`, id].join(', ')}`)));
    const place = { host: '127.0.0.1', port: String(getTestServer().port), database: 'postgres', sslmode: 'disable' };
    const settings = Object.entries({ ...place, roles: loginNames.join(','), administrator: id });
    await register(service.url, {
      secretType: 'DATABASE',
      secretName: id,
      settings: settings.map(([name, value]) => ({ name, value })),
      value: first,
      credential: administrator,
    });
  },
  works: (_service, { slot, value }) => {
    const role = loginNames[slot === 'b' ? 1 : 0];
    return canLogIn(withCredentials(getTestServer().adminUrl, role, Buffer.from(value ?? []).toString()));
  },
  given: (session) => generationsOf(session, 'DATABASE', ''),
  // One role alone may log in: with what, is told by the value that works.
  valid: async (session) => {
    const open = await session.run(
      `SELECT FROM pg_roles WHERE rolname IN ('${loginNames.join("', '")}') AND rolcanlogin`,
    );
    return open.length === 1 ? generationsOf(session, 'DATABASE', "AND label = 'CURRENT'") : [];
  },
};

function generationsOf(session: SqlSession, type: SecretType, condition: string): Promise<number[]> {
  const ofSecret = `secret = (SELECT id FROM public.secrets WHERE type = '${type}' AND name <> 'application')`;
  return numbers(
    session,
    `SELECT generation FROM public.secret_versions WHERE ${ofSecret} ${condition} ORDER BY generation`,
  );
}

const oauthName = 'a client that rotates';
let provider: OpenidProvider | undefined;
let client: RegisteredClient | undefined;

/** A client of a real provider, which makes the secrets and has place for one. */
const oauthTarget: RotatedTarget = {
  type: 'OAUTH',
  hasTwoPlaces: false,
  name: oauthName,
  prepare: async (service, owned) => {
    provider = owned.use(await startOpenidProvider({ renewsSecret: true, rotatesAccessToken: true }));
    client = await provider.register();
    const { client_id: clientId, registration_client_uri: registrationUrl } = client;
    const settings = Object.entries({ clientId, registrationUrl, grantUrl: provider.tokenUrl });
    await register(service.url, {
      secretType: 'OAUTH',
      secretName: oauthName,
      settings: settings.map(([name, value]) => ({ name, value })),
      value: client.client_secret,
      credential: client.registration_access_token,
    });
  },
  // Between the provider's answer and its promotion the new one works alone.
  works: async ({ context }, { value }) => {
    const isOnItsWay = async () =>
      (
        await context.services.database.query(
          `SELECT FROM public.rotations JOIN public.secrets AS secret ON secret.id = secret
           WHERE secret.type = 'OAUTH' AND rotated_at IS NULL AND status NOT IN ('FAILED', 'ROLLED_BACK')`,
        )
      ).rowCount !== 0;
    const lets = async () => provider?.lets(client?.client_id ?? '', Buffer.from(value ?? []).toString());
    return (await isOnItsWay()) || (await lets()) === true || (await isOnItsWay());
  },
  given: () => {
    const updates = provider?.requests.filter((line) => line.startsWith('PUT ')).length ?? 0;
    return Promise.resolve(Array.from({ length: updates + 1 }, (_, place) => place + 1));
  },
  valid: (session) => generationsOf(session, 'OAUTH', "AND label = 'CURRENT'"),
};

/** The rows of the table of kills: each kind of secret that a node rotates. */
export const rotatedTargets: readonly RotatedTarget[] = [
  apiKeyTarget,
  signingKeyTarget,
  encryptionKeyTarget,
  webhookTarget,
  databaseTarget,
  oauthTarget,
];

/** Where nodes overtake each other: what an overtaken one still sends to a target with one place, nobody can take back. */
export const overtakenTargets = rotatedTargets.slice(0, 4);

/** Uses the value that is current; null where it works, else what is wrong. */
export async function faultOf(service: TestService, target: RotatedTarget): Promise<string | null> {
  const { database, secrets } = service.context.services;
  const { id } = await getSecret(database, target.type, target.name);
  const readCurrent = () => readVersion(database, secrets.ring, id, { label: 'CURRENT' });
  for (;;) {
    const current = await readCurrent();
    if (current === null) return `${target.type} has no current value`;
    const works = await target.works(service, current).catch((error: unknown) => String(error));
    if (works === true) return null;
    // One that was replaced since it was read may be revoked by now.
    if ((await readCurrent())?.generation === current.generation) {
      return `${target.type} generation ${current.generation} does not work: ${works}`;
    }
  }
}
