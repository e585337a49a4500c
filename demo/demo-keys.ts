import { DaybookApi } from './daybook-api.js';

/** Names of the demo's keys: the actors under which the audit log shows what it did. */
export const producerName = 'demo-producer';
const monitorName = 'demo-monitor';

/** The API as a PRODUCER and as a MONITOR may use it. Disposing revokes both keys. */
export interface DemoKeys extends AsyncDisposable {
  readonly producer: DaybookApi;
  readonly monitor: DaybookApi;
}

interface KeyRow {
  readonly id: string;
  readonly name: string;
  readonly revokedAt: string | null;
}

/**
 * Makes the demo's keys as the ADMIN. Keys that an interrupted run left valid are revoked first: the name of a valid key
 * is unique, and a second run has to be the same producer for its idempotency keys to hold.
 */
export async function makeDemoKeys(admin: DaybookApi, signal: AbortSignal): Promise<DemoKeys> {
  const { apiKeys } = await admin.call<{ apiKeys: KeyRow[] }>('{ apiKeys { id name revokedAt } }');
  const left = apiKeys.filter(
    ({ name, revokedAt }) => revokedAt === null && [producerName, monitorName].includes(name),
  );
  for (const { id } of left) await revoke(admin, id);

  await using stack = new AsyncDisposableStack();
  const make = async (name: string, role: 'PRODUCER' | 'MONITOR') => {
    const { createApiKey } = await admin.call<{ createApiKey: { secret: string; apiKey: { id: string } } }>(
      'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret apiKey { id } } }',
      { input: { name, role } },
    );
    // An interrupted run revokes as well, so this call does not listen to its signal.
    const patient = new DaybookApi(admin.url, admin.key, AbortSignal.timeout(600_000));
    stack.defer(() => revoke(patient, createApiKey.apiKey.id));
    return new DaybookApi(admin.url, createApiKey.secret, signal);
  };
  const producer = await make(producerName, 'PRODUCER');
  const monitor = await make(monitorName, 'MONITOR');
  const owned = stack.move();
  return { producer, monitor, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function revoke(admin: DaybookApi, id: string): Promise<void> {
  await admin.call('mutation ($input: RevokeApiKeyInput!) { revokeApiKey(input: $input) { apiKey { id } } }', {
    input: { id },
  });
}
