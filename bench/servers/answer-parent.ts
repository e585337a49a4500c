import type { Answer, Question } from '../child.js';

/** Microseconds of processor time that this process has used, user and system. */
function processorTimeUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * Answers the parent's questions with `answers`, and `processorTimeUs` besides, until the parent lets go of this process
 * or dies; then disposes `owned` and lets it end.
 */
export function answerParent(
  answers: Readonly<Record<string, (argument: never) => Promise<unknown>>>,
  owned: AsyncDisposableStack,
): void {
  const known: Readonly<Record<string, (argument: never) => Promise<unknown>>> = {
    processorTimeUs: () => Promise.resolve(processorTimeUs()),
    ...answers,
  };
  const answer = async ({ number, name, argument }: Question): Promise<Answer> => {
    try {
      const run = known[name];
      if (run === undefined) throw new Error(`the question ${name} is not known`);
      return { number, value: await run(argument as never) };
    } catch (error) {
      return { number, error: String((error as Error).stack) };
    }
  };
  process.on('message', (question: Question) => void answer(question).then((given) => process.send?.(given)));
  process.once('disconnect', () => void owned.disposeAsync().finally(() => process.exit()));
  // The parent ends the run on Ctrl-C and takes its children down in order.
  process.on('SIGINT', () => undefined);
}
