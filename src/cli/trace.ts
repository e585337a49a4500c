import Table from 'cli-table3';
import type { Command } from 'commander';
import { readConfig } from '../config.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { openLedgerDatabase } from '../open-ledger-database.js';
import { openTrace } from '../open-trace.js';
import type { SignalTraceRow } from '../trace/signal-tracer.js';
import { openLog } from './open-log.js';
import { runCommand } from './run-command.js';

/** `daybook trace <signalId>`: prints what became of a signal. Reads as the auditor, which can change nothing. */
export function addTraceCommand(program: Command): void {
  program
    .command('trace')
    .description('show what became of a signal: orders, fills, rejections, alerts, and why it was not executed')
    .argument('<signalId>', "the signal's public id")
    .option('--json', 'print {"trace": {...}} or {"error": {"code", "message"}}')
    .addHelpText('after', '\nExit codes: 0 the signal is recorded, whatever became of it; 1 it is not, or it failed.')
    .action(async (signalId: string, options: { readonly json?: boolean }) => {
      await trace(signalId, options.json);
    });
}

function trace(signalId: string, json: boolean | undefined): Promise<void> {
  return runCommand({ json }, async (signal) => {
    const found = await traceSignal(signalId, signal);
    return { result: { trace: encode(found) }, text: describe(found) };
  });
}

async function traceSignal(signalId: string, signal: AbortSignal): Promise<SignalTraceRow> {
  const config = readConfig();
  const log = openLog(config);
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await openLedgerDatabase(config, { log, mode: 'attach', signal }));
  const pool = openPool({ ...ledgerConnection(database.urls.auditor, 'daybook trace'), max: 1 }, (err) =>
    log.warn({ err }, 'a connection to the database broke'),
  );
  stack.defer(() => pool.end());
  return await openTrace({ config, pool, clock: { nowMs: () => Date.now() } }).trace(signalId);
}

/** Details of entries as JSON values instead of their text. */
function encode(trace: SignalTraceRow): object {
  return {
    ...trace,
    events: trace.events.map(({ entry, ...joined }) => ({
      ...joined,
      entry: { ...entry, details: JSON.parse(entry.details) as unknown },
    })),
  };
}

function describe(trace: SignalTraceRow): string {
  const { signal, config, orderedQuantity, filledQuantity, filledNotional } = trace;
  const at = signal.strategy === null ? '' : `, strategy ${signal.strategy}`;
  const table = new Table({
    head: ['index', 'recorded', 'event', 'order', 'quantity', 'price', 'joined by', 'message'],
    colAligns: ['right', 'left', 'left', 'left', 'right', 'right', 'left', 'left'],
    style: { head: [], border: [] },
  });
  for (const { entry, orderId, joinedBy } of trace.events) {
    const details = JSON.parse(entry.details) as Record<string, unknown>;
    const shown = (name: string) => plain(details[name]);
    table.push([
      ...[entry.chainIndex, entry.recordedAt, entry.event, plain(orderId), shown('quantity'), shown('price')],
      ...[joinedBy, shown('message')],
    ]);
  }
  return [
    `${signal.signalId}: ${signal.action} ${signal.symbol} at ${signal.entryPrice}${at}, recorded ${signal.serverTimestamp}`,
    `${trace.status}: ${plain(trace.reason)}`,
    `ordered ${orderedQuantity}, filled ${filledQuantity}, notional ${filledNotional}`,
    ...trace.orders.map(
      ({ orderId, status, quantity, filledQuantity: filled }) =>
        `  order ${plain(orderId)}: ${status}, ${filled} of ${quantity ?? 'an unrecorded quantity'}`,
    ),
    ...(trace.events.length === 0 ? [] : [table.toString()]),
    config === null
      ? 'no configuration snapshot until then'
      : `configuration snapshot ${config.id} of ${config.takenAt}, files ${config.filesHash}`,
    `as of audit index ${trace.asOfIndex ?? 'none'}${trace.complete || trace.archived !== null ? '' : '; there are more events than are shown'}`,
    '',
  ].join('\n');
}

/** Without control characters: messages come from brokers, and a terminal would obey them. */
function plain(value: unknown): string {
  if (value === undefined || value === null) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
