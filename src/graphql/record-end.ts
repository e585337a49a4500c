import { outcomeOf } from '../access/request-calls.js';

type Events<Item> = AsyncGenerator<Item, void, undefined>;

/** Calls `onEnd` exactly once, however the events end: by their source, by the subscriber, or by an error. */
export function recordEnd<Item>(
  events: Events<Item>,
  onEnd: (outcome: string, delivered: number, last: Item | null) => Promise<void>,
): Events<Item> {
  let delivered = 0;
  let last: Item | null = null;
  let ended = false;
  const end = async (outcome: string) => {
    if (ended) return;
    ended = true;
    await onEnd(outcome, delivered, last);
  };
  return {
    async next() {
      try {
        const result = await events.next();
        if (result.done === true) {
          await end('OK');
        } else {
          delivered += 1;
          last = result.value;
        }
        return result;
      } catch (error) {
        await end(outcomeOf(error));
        throw error;
      }
    },
    async return(value) {
      const result = await events.return(value);
      await end('OK');
      return result;
    },
    async throw(error) {
      await end(outcomeOf(error));
      return events.throw(error);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await this.return();
    },
  };
}
