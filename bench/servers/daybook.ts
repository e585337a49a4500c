import { pino } from 'pino';
import type { Append } from '../../src/access/request-calls.js';
import { RequestCalls } from '../../src/access/request-calls.js';
import type { Config } from '../../src/config.js';
import { openContext, type NodeContext } from '../../src/context.js';
import { createLoaders } from '../../src/graphql/loaders.js';
import { startServer } from '../../src/server.js';
import { answerParent } from './answer-parent.js';

export interface DaybookOptions {
  readonly config: Config;
  /** False: calls leave no entry, everything else is done. Only a bench does that. */
  readonly recordsCalls: boolean;
}

const appendsNothing: Append = () =>
  Promise.resolve({ signals: [], entries: [], replayedSignals: 0, replayedEntries: 0 });

const owned = new AsyncDisposableStack();

/** The node as `npm start` serves it; the answer is its URL. */
async function start({ config, recordsCalls }: DaybookOptions): Promise<string> {
  const context = owned.use(await openContext(config, pino({ level: config.logLevel })));
  const server = owned.use(await startServer(recordsCalls ? context : withoutEntries(context)));
  return server.url;
}

/** Authorises as ever and leaves no entry. */
class SilentCalls extends RequestCalls {
  override get hasEntries(): boolean {
    return true;
  }

  override record(): void {
    // What an entry costs, from its words to its row, is the other line of the bench.
  }
}

function withoutEntries(context: NodeContext): NodeContext {
  const { redactor, clock, database } = context.services;
  return {
    ...context,
    append: appendsNothing,
    contextFor: (sender) => ({
      calls: new SilentCalls(sender, { append: appendsNothing, redactor, clock }),
      services: context.services,
      loaders: createLoaders(database),
    }),
  };
}

answerParent({ start }, owned);
