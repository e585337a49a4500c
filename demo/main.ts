import { Command, Option } from 'commander';
import { runDemo } from './run-demo.js';
import { startOwnServer, type DemoTarget } from './own-server.js';
import { StepReport } from './step-report.js';

interface Flags {
  readonly url?: string;
  readonly adminKey?: string;
  readonly databaseUrl?: string;
}

/**
 * `npm run demo`: real prices become signals in a ledger. Starts a service of its own unless it is told of a running one.
 * Exit code 0: everything was as promised; 1: something was not; 130: interrupted.
 */
const program = new Command('demo')
  .description('record what two trading strategies say of real prices, follow it, try to change it, and verify it')
  .addOption(new Option('--url <url>', 'a running service, as in http://127.0.0.1:4000').env('DAYBOOK_URL'))
  .addOption(new Option('--admin-key <key>', 'an ADMIN key of it; goes with --url').env('DAYBOOK_ADMIN_KEY'))
  .addOption(
    new Option('--database-url <url>', 'its database, for the UPDATE and the verification: daybook db-url').env(
      'DAYBOOK_DEMO_DATABASE_URL',
    ),
  )
  .addHelpText(
    'after',
    '\nWithout --url it starts a service of its own in a temporary folder and removes it at the end.' +
      '\nExit codes: 0 everything was as promised, 1 something was not, 130 interrupted.',
  )
  .action(async (flags: Flags) => {
    process.exitCode = await demo(flags);
  });

async function demo(flags: Flags): Promise<number> {
  const interrupt = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => interrupt.abort(new Error('interrupted')));
  }
  const report = new StepReport(process.stderr);
  try {
    await using target = await openTarget(flags, report, interrupt.signal);
    await runDemo(target, report, interrupt.signal);
    process.stdout.write(`${report.table()}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`The demo stopped: ${(error as Error).message}\n`);
    return interrupt.signal.aborted ? 130 : 1;
  }
}

async function openTarget(
  { url, adminKey, databaseUrl }: Flags,
  report: StepReport,
  signal: AbortSignal,
): Promise<DemoTarget & AsyncDisposable> {
  if (url === undefined) {
    return report.run(
      'Start a service in a temporary folder',
      () => startOwnServer(signal),
      (server) => server.url,
    );
  }
  if (adminKey === undefined) throw new Error('--url goes with --admin-key (or DAYBOOK_ADMIN_KEY)');
  const nothing = () => Promise.resolve();
  return { url, adminKey, databaseUrl: databaseUrl ?? null, [Symbol.asyncDispose]: nothing };
}

await program.parseAsync();
