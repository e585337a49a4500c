import type { InputValues } from './generated-calls.js';
import type { Answer } from './test-service.js';

type Call = (query: string, variables?: Record<string, unknown>) => Promise<Answer>;

/** Left away where a call is to succeed: they refer to what must be there, or make calls equal. */
export const leftAway: InputValues = { idempotencyKey: undefined, supersedes: undefined };

async function openIncident(call: Call): Promise<InputValues> {
  const opened = await call('mutation { openIncident(input: { title: "generated" }) { incident { id } } }');
  return { id: opened.data?.openIncident.incident.id };
}

let names = 0;
const freshName = () => `generated-${(names += 1)}`;

/** What generated arguments need beyond their types for a mutation to succeed; made anew for each call. */
const prepared: Readonly<Record<string, (call: Call) => Promise<InputValues>>> = {
  acknowledgeIncident: openIncident,
  closeIncident: openIncident,
  createApiKey: () => Promise.resolve({ name: freshName(), expiresAt: undefined }),
  createExportPack: () => Promise.resolve({ date: new Date().toISOString().slice(0, 10) }),
  createSignal: () => Promise.resolve({ signalId: undefined }),
  createSignals: () => Promise.resolve({ signalId: undefined }),
  placeLegalHold: () => Promise.resolve({ recordedFrom: '2019-01-01T00:00:00Z' }),
  readSecret: () => Promise.resolve({ secretType: 'SIGNING_KEY', secretName: 'audit' }),
  registerSecret: async (call) => {
    const name = freshName();
    await call('mutation ($name: String!) { createApiKey(input: { name: $name, role: ANALYST }) { apiKey { id } } }', {
      name,
    });
    return { secretType: 'API_KEY', secretName: name, settings: undefined, value: undefined, credential: undefined };
  },
  releaseLegalHold: async (call) => {
    const placed = await call('mutation { placeLegalHold(input: { reason: "for a generated call" }) { hold { id } } }');
    return { id: placed.data?.placeLegalHold.hold.id };
  },
  rollBackRotation: async (call) => {
    // Refused while the one before is in its grace period, which then can be rolled back.
    await call(
      'mutation { rotateSecret(input: { secretType: SIGNING_KEY, secretName: "signals" }) { rotation { id } } }',
    );
    const { data } = await call('{ rotationHistory(secretName: "signals", first: 10) { nodes { id status } } }');
    const rotations = (data?.rotationHistory?.nodes ?? []) as { id: string; status: string }[];
    return { rotationId: rotations.find(({ status }) => status === 'ROTATED')?.id ?? 'none' };
  },
  rotateSecret: () =>
    Promise.resolve({ secretType: 'SIGNING_KEY', secretName: 'audit', newValue: undefined, newCredential: undefined }),
  updateRotationPolicy: () => Promise.resolve({ secretName: undefined, from: '09:00', to: '10:00' }),
  replaySink: () => Promise.resolve({ name: 'jsonl', from: '0' }),
  revokeApiKey: async (call) => {
    const made = await call(
      'mutation ($name: String!) { createApiKey(input: { name: $name, role: ANALYST }) { apiKey { id } } }',
      { name: freshName() },
    );
    return { id: made.data?.createApiKey.apiKey.id };
  },
};

export async function prepareMutation(name: string, call: Call): Promise<InputValues> {
  return (await prepared[name]?.(call)) ?? {};
}
