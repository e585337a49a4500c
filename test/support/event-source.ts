import type { DaybookError } from '../../src/errors.js';

/** Events of the test's subscription: pushed by the test, pulled by every subscriber. */
export class EventSource {
  readonly events: { readonly text: string }[] = [];
  opened = 0;
  pulled = 0;
  returned = 0;
  failure: DaybookError | null = null;
  #changed = Promise.withResolvers<void>();

  push(...texts: string[]): void {
    this.events.push(...texts.map((text) => ({ text })));
    this.wake();
  }

  wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  open(after: number): AsyncGenerator<{ readonly text: string }, void> {
    this.opened += 1;
    let place = after;
    const closing = Promise.withResolvers<void>();
    let closed = false;
    return {
      next: async () => {
        for (;;) {
          const event = this.events[place];
          if (closed) return { done: true, value: undefined };
          if (this.failure !== null) throw this.failure;
          if (event !== undefined) {
            place += 1;
            this.pulled += 1;
            return { done: false, value: event };
          }
          await Promise.race([this.#changed.promise, closing.promise]);
        }
      },
      return: async () => {
        if (!closed) this.returned += 1;
        closed = true;
        closing.resolve();
        return { done: true, value: undefined };
      },
      throw: (error) => Promise.reject(error as Error),
      [Symbol.asyncIterator]() {
        return this;
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
}
