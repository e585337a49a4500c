import { requireRole } from '../access/audited.js';
import type { Role } from '../access/principal.js';
import { outcomeOf } from '../access/request-calls.js';
import type { RequestContext } from '../access/request-context.js';
import { recordEnd } from './record-end.js';

/** A subscription that delivers what happens from now on, as its GraphQL field describes it. */
export interface EventSource<Item> {
  readonly field: string;
  readonly roles: readonly Role[];
  /** Notes where the subscriber begins. */
  readonly begin: () => Promise<void>;
  /** What came since the last call, in order; nothing where there is nothing new. */
  readonly readNext: () => Promise<readonly Item[]>;
  /** True once nothing more can come: the subscription then ends. */
  readonly hasEnded?: () => boolean;
  /** Resolves when there may be more, and when `signal` aborts. */
  readonly changed: (signal: AbortSignal) => Promise<void>;
}

/**
 * Opens the subscription for one subscriber, who gets every item once and in order while connected. Its opening leaves an
 * audit entry before the first item, its end another one; a refused opening leaves its entry too.
 */
export async function openEvents<Item>(
  context: RequestContext,
  source: EventSource<Item>,
  args: Readonly<Record<string, unknown>>,
): Promise<AsyncGenerator<Item, void, undefined>> {
  const { calls } = context;
  const call = calls.begin(source.field, 'READ', args);
  try {
    requireRole(calls, source.roles);
    await source.begin();
    calls.record(call, 'OK', { phase: 'opened' });
    await calls.flush();
    return recordEnd(follow(source, context.services.shutdown), (outcome, delivered) => {
      calls.record(call, outcome, { phase: 'ended', delivered });
      return calls.flush();
    });
  } catch (error) {
    calls.record(call, outcomeOf(error), { phase: 'refused' });
    await calls.flush();
    throw error;
  }
}

/** Written out, because a generator's own `return` waits for a pending `next`: a subscriber that leaves ends the wait. */
function follow<Item>(source: EventSource<Item>, shutdown: AbortSignal): AsyncGenerator<Item, void, undefined> {
  const closing = new AbortController();
  const signal = AbortSignal.any([closing.signal, shutdown]);
  const waiting: Item[] = [];
  const finish = () => {
    closing.abort();
    return Promise.resolve({ done: true, value: undefined } as const);
  };
  return {
    async next() {
      while (!signal.aborted) {
        const item = waiting.shift();
        if (item !== undefined) return { done: false, value: item };
        const items = await source.readNext();
        waiting.push(...items);
        if (items.length > 0) continue;
        if (source.hasEnded?.() === true) break;
        await source.changed(signal);
      }
      return { done: true, value: undefined };
    },
    return: finish,
    async throw(error) {
      await finish();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await finish();
    },
  };
}
