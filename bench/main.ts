import { Argument, Command, InvalidArgumentError } from 'commander';
import { benches } from './benches.js';
import { meetsTarget, type Comparison } from './comparison.js';
import { formatTable } from './print-table.js';
import { showProgress } from './progress.js';

interface Options {
  readonly json?: true;
  readonly check?: true;
  readonly entries: number;
  readonly plans: boolean;
}

/** Large enough to show what grows with the log, and stored in a minute. */
const entriesOfLargeDefault = 1_000_000;

const command = new Command('npm run bench --')
  .description('Measures Daybook against baselines in the same run; a ratio is ours ÷ baseline.')
  .addArgument(new Argument('[name...]', 'benches to run; all when none is named').choices(Object.keys(benches)))
  .option('--json', 'print figures for programs instead of a table')
  .option('--check', 'exit with 1 when a target is missed')
  .option('--entries <count>', 'entries of the larger log in audit-queries', readCount, entriesOfLargeDefault)
  .option('--plans', 'print the plan of each query of audit-queries', false)
  .action(async (names: readonly string[], options: Options) => {
    const comparisons = await runBenches(names, options, abortOnSignals());
    if (comparisons === null) return;
    console.log(
      options.json
        ? JSON.stringify(
            comparisons.map((line) => ({ ...line, met: meetsTarget(line) })),
            null,
            2,
          )
        : [formatTable(comparisons), ...comparisons.flatMap(({ details }) => details ?? [])].join('\n'),
    );
    if (options.check && comparisons.some((line) => meetsTarget(line) === false)) process.exitCode = 1;
  });

/** The lines of the named benches, of all where none is named; null when the run was ended from outside. */
async function runBenches(
  names: readonly string[],
  { entries: entriesOfLarge, plans }: Options,
  signal: AbortSignal,
): Promise<Comparison[] | null> {
  const comparisons: Comparison[] = [];
  try {
    for (const [name, bench] of Object.entries(benches)) {
      if (names.length > 0 && !names.includes(name)) continue;
      signal.throwIfAborted();
      using shown = showProgress(name);
      comparisons.push(...(await bench({ progress: shown.progress, signal, entriesOfLarge, plans })));
    }
    return comparisons;
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = 130;
    return null;
  }
}

function readCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError('give a whole number above 0');
}

/** Ctrl-C ends the run after the round under way, so that servers and folders are taken down; twice ends it at once. */
function abortOnSignals(): AbortSignal {
  const stopping = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stopping.signal.aborted) process.exit(130);
      stopping.abort(new Error('the run was ended'));
    });
  }
  return stopping.signal;
}

await command.parseAsync();
