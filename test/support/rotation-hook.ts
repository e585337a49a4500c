import { signWebhook } from '../../src/core/webhook-signature.js';
import { startHttpReceiver } from './http-receiver.js';

/** A call of the webhook rotator, as the hook understood it. */
interface HookCall {
  readonly id: string;
  readonly step: string;
  readonly generation: number;
  readonly value?: string;
  readonly reference?: string;
}

/** What the hook does other than it should: an answer, `null` for none at all. Undefined: as it should. */
type Misbehaviour = (call: HookCall) => { status: number; body?: object | string } | null | undefined;

/** A target with one place or two for values, and the service in front of it that takes signed calls; loopback. */
export interface RotationHook extends AsyncDisposable {
  readonly url: string;
  /** Calls whose signature is right. */
  readonly calls: HookCall[];
  /** Bodies as they came. */
  readonly bodies: string[];
  /** Whether a user of the target gets in with a value. */
  lets(value: string): boolean;
  misbehave(how: Misbehaviour): void;
}

export async function startRotationHook(options: {
  readonly signingKey: string;
  readonly value: string;
  readonly places: 1 | 2;
}): Promise<RotationHook> {
  const receiver = await startHttpReceiver();
  const places = new Map<number, string>([[1, options.value]]);
  const calls: HookCall[] = [];
  let misbehaviour: Misbehaviour = () => undefined;
  const behave = ({ step, generation, value }: HookCall): object => {
    const reference = `place-${generation}`;
    if (step === 'create') return { value: `made-for-${generation}-by-the-target`, reference };
    if (step === 'test') return { works: [...places.values()].includes(value ?? '') };
    if (step === 'usage') return { inUse: false };
    if (step === 'revoke') places.delete(generation);
    if (step !== 'set') return {};
    if (options.places === 1) places.clear();
    places.set(generation, value ?? '');
    return { reference };
  };
  receiver.respond(({ headers, body }, response) => {
    const id = String(headers['webhook-id']);
    const timestamp = Number(headers['webhook-timestamp']);
    const expected = signWebhook(Buffer.from(options.signingKey), id, timestamp, body);
    if (headers['webhook-signature'] !== expected) return void response.writeHead(401).end();
    const call: HookCall = { id, ...(JSON.parse(body) as { data: Omit<HookCall, 'id'> }).data };
    calls.push(call);
    const other = misbehaviour(call);
    if (other === null) return;
    const { status, body: answer } = other ?? { status: 200, body: behave(call) };
    response.writeHead(status, { 'content-type': 'application/json', location: `${receiver.url}/elsewhere` });
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer ?? {}));
  });
  return {
    url: receiver.url,
    calls,
    get bodies() {
      return receiver.requests.map(({ body }) => body);
    },
    lets: (value) => [...places.values()].includes(value),
    misbehave: (how) => {
      misbehaviour = how;
    },
    [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose](),
  };
}
