import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type pg from 'pg';
import { ApiKeyStore } from '../../src/access/api-key-store.js';
import type { Append } from '../../src/access/request-calls.js';
import { attachLedger } from '../../src/cli/attach-ledger.js';
import type { Rotator, SecretType } from '../../src/core/rotation.js';
import { openRootKey } from '../../src/open-root-key.js';
import { openSecrets } from '../../src/open-secrets.js';
import { SigningKeys } from '../../src/proofs/signing-keys.js';
import { rollBackRotation } from '../../src/secrets/request-rotation.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import type { SecretServices } from '../../src/secrets/secret-services.js';

/**
 * A node that does nothing but rotate secrets, in a process that a test can kill or pause. Each line of its input is an order; it
 * answers `ready`, `halted <rotation>` where it came to the place that the order names, and `done <rotation>` where it let go of
 * it.
 */
export interface RotationOrder {
  /** Rotations to work on, one after the other; absent: all that is due. */
  readonly rotations?: readonly string[];
  /** Where each is held up until a line `go` comes; null: nowhere. */
  readonly halt: string | null;
  /** Rolls the rotations back instead. */
  readonly isRollBack?: boolean;
}

await using stack = new AsyncDisposableStack();
const ledger = await attachLedger(stack, 'daybook rotation process', new AbortController().signal);
const { config, log, clock, pool, append } = ledger;
const root = await openRootKey(config);
const keys = await SigningKeys.open({ database: pool, append, root, origin: config.origin, log });
const apiKeys = stack.use(new ApiKeyStore(pool, clock, log));
const { secrets: services } = await openSecrets({ ...ledger, pool: watchedPool(), apiKeys, keys });

/** Tells of the batches in which data keys are wrapped anew. */
function watchedPool(): pg.Pool {
  const query = async (text: string, values?: unknown[]): Promise<unknown> => {
    const result = await pool.query(text, values);
    if (text.startsWith('UPDATE public.data_keys')) await haltNow('a batch of data keys');
    return result;
  };
  return new Proxy(pool, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name)) });
}

/** Of the rotation that is worked on. */
let haltNow: (place: string) => Promise<void> = () => Promise.resolve();
let go = Promise.withResolvers<void>();
const say = (line: string) => process.stdout.write(`${line}\n`);

const effects = ['create', 'apply', 'probe', 'verify', 'promoted', 'isInUse', 'revoke'];

/** The services, with every step and every call of a rotator coming by `halt`, which names it. */
function passing(halt: (place: string) => Promise<void>): SecretServices {
  const wrap = (rotator: Rotator): Rotator =>
    new Proxy(rotator, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        const call = (...args: unknown[]): unknown => Reflect.apply(member, target, args);
        if (!effects.includes(String(name))) return call;
        return async (...args: unknown[]) => {
          await halt(`before ${String(name)}`);
          const result = await call(...args);
          await halt(`after ${String(name)}`);
          return result;
        };
      },
    });
  const rotators = new Map<SecretType, Rotator>([...services.rotators].map(([type, one]) => [type, wrap(one)]));
  const watched: Append = async (request) => {
    const steps: string[] = [];
    const result = await append({
      ...request,
      alongside: async (client) => {
        await request.alongside?.(watching(client, steps));
        for (const step of steps) await halt(`${step} before its commit`);
      },
    });
    for (const step of steps) await halt(step);
    return result;
  };
  return { ...services, append: watched, rotators };
}

/** The connection, noting the steps of rotations that are taken through it. */
function watching(client: pg.Client, steps: string[]): pg.Client {
  const query = (text: string, values?: unknown[]): unknown => {
    if (text.includes('daybook.step_rotation')) steps.push(String(values?.[3]));
    return client.query(text, values);
  };
  return new Proxy(client, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name)) });
}

/** Resolves when the rotation is held up, or was let go of. */
async function work(id: string | null, place: string | null, isRollBack: boolean): Promise<void> {
  const halted = Promise.withResolvers<void>();
  const halt = async (reached: string) => {
    if (reached !== place) return;
    say(`halted ${id ?? 'due'}`);
    halted.resolve();
    await go.promise;
  };
  haltNow = halt;
  // As if the second were over for which it believes what it saw.
  await services.ring.refresh();
  const working = begin(passing(halt), id, isRollBack);
  await Promise.race([working.then(() => say(`done ${id ?? 'due'}`)), halted.promise]);
}

function begin(services: SecretServices, id: string | null, isRollBack: boolean): Promise<unknown> {
  const { signal } = new AbortController();
  if (id === null) return new RotationMachine(services).runDue(signal);
  if (!isRollBack) return new RotationMachine(services).runOne(id, null, signal);
  const origin = serviceSecretOrigin(randomUUID());
  return rollBackRotation(services, { rotationId: id, reason: 'the test wants it', origin });
}

const lines = createInterface(process.stdin);
lines.on('line', (line) => {
  if (line === 'go') {
    go.resolve();
    go = Promise.withResolvers();
    return;
  }
  const { rotations, halt, isRollBack = false } = JSON.parse(line) as RotationOrder;
  void (async () => {
    for (const id of rotations ?? [null]) await work(id, halt, isRollBack);
  })();
});
say('ready');
await once(lines, 'close');
