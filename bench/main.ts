import { Argument, Command } from 'commander';
import { benches } from './benches.js';
import { meetsTarget, type Comparison } from './comparison.js';
import { formatTable } from './print-table.js';
import { showProgress } from './progress.js';

interface Options {
  readonly json?: true;
  readonly check?: true;
}

const command = new Command('npm run bench --')
  .description('Measures Daybook against baselines in the same run; a ratio is ours ÷ baseline.')
  .addArgument(new Argument('[name...]', 'benches to run; all when none is named').choices(Object.keys(benches)))
  .option('--json', 'print figures for programs instead of a table')
  .option('--check', 'exit with 1 when a target is missed')
  .action(async (names: readonly string[], options: Options) => {
    const comparisons: Comparison[] = [];
    for (const [name, bench] of Object.entries(benches)) {
      if (names.length > 0 && !names.includes(name)) continue;
      using context = showProgress(name);
      comparisons.push(...(await bench(context)));
    }
    console.log(
      options.json
        ? JSON.stringify(
            comparisons.map((line) => ({ ...line, met: meetsTarget(line) })),
            null,
            2,
          )
        : formatTable(comparisons),
    );
    if (options.check && comparisons.some((line) => meetsTarget(line) === false)) process.exitCode = 1;
  });

await command.parseAsync();
