/** Where the events of a subscription come from and go to. */
export interface Delivery {
  readonly source: AsyncIterable<unknown>;
  /** The JSON text of the result for an event. */
  readonly resultOf: (event: unknown) => Promise<Buffer>;
  /** Resolves when the socket has taken the result; false when it takes nothing any more. */
  readonly send: (json: Buffer) => Promise<boolean>;
}

/**
 * A subscription as its transport sees it: a generator that delivers events itself while it is pulled, and yields
 * nothing. Results go out as text that many subscribers share; a generator of result objects would have each of them
 * serialised again. The next event is asked for when the last one has left, so a slow socket holds back its source.
 */
export function deliverEvents({ source, resultOf, send }: Delivery): AsyncGenerator<never, void, void> {
  const events = source[Symbol.asyncIterator]();
  const end = async () => {
    await events.return?.();
    return { done: true, value: undefined } as const;
  };
  return {
    async next() {
      for (;;) {
        const event = await events.next();
        if (event.done === true) return { done: true, value: undefined };
        if (!(await send(await resultOf(event.value)))) return end();
      }
    },
    return: end,
    async throw(error) {
      await end();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await end();
    },
  };
}
