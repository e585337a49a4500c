import { verifyLogs, type LogVerification } from '../src/ledger/verify-log.js';
import { attemptUpdate } from './attempt-update.js';
import { DaybookApi } from './daybook-api.js';
import { makeDemoKeys, producerName } from './demo-keys.js';
import { deriveSignals, type SignalInput } from './derive-signals.js';
import { openFollower, type Follower } from './open-follower.js';
import type { DemoTarget } from './own-server.js';
import { readPriceHistories } from './price-history.js';
import { recordOrders } from './record-orders.js';
import { recordSignals, type RecordedSignal } from './record-signals.js';
import type { StepReport } from './step-report.js';

/** Orders are made for the last signals only: enough to show how events refer to their signal. */
const orderedSignals = 3;

interface RefusalEntry {
  readonly chainIndex: string;
  readonly signalId: string | null;
  readonly actor: string;
  readonly outcome: string;
}

/**
 * Records what two strategies say of real prices, follows it, tries to change it, and verifies it. Throws as soon as
 * anything is not as promised. Running it twice on one ledger records nothing twice.
 */
export async function runDemo(target: DemoTarget, report: StepReport, signal: AbortSignal): Promise<void> {
  const inputs = await report.run('Derive signals from prices', deriveAll, wordInputs);
  const [example] = inputs;
  if (example !== undefined) report.note(`For example: ${example.action} ${example.symbol}. ${example.rationale}`);
  const admin = new DaybookApi(target.url, target.adminKey, signal);
  await using keys = await report.run(
    'Make two API keys as the ADMIN',
    () => makeDemoKeys(admin, signal),
    () => 'one PRODUCER, one MONITOR; revoked at the end',
  );
  await using feed = await openFollower<{ id: string }>(
    keys.producer,
    { feed: 'signalFeed', fields: 'id', filter: { producer: { eq: producerName } } },
    signal,
  );
  const { signals, replayed } = await report.run(
    'Record the signals over HTTP',
    () => report.progress(inputs.length, 'signals', (onDone) => recordSignals(keys.producer, inputs, onDone)),
    (recorded) => `${recorded.signals.length - recorded.replayed} recorded, ${recorded.replayed} were there already`,
  );
  await report.run(
    'Follow them over WebSocket',
    () => followToEnd(feed, signals, replayed),
    (seen) => `${seen.rows.length} delivered in ${seen.frames} frames, no gap up to position ${seen.cursor}`,
  );
  await report.run(
    'Record orders and fills',
    () => recordOrders(keys.producer, signals.slice(-orderedSignals)),
    (events) => `${events.length} events of ${orderedSignals} orders, each naming its signal`,
  );
  if (target.databaseUrl === null) {
    report.skip('Try an UPDATE past the API', 'it needs --database-url');
    report.skip('Verify both logs', 'it needs --database-url');
    return;
  }
  await using refusals = await openFollower<RefusalEntry>(
    keys.monitor,
    {
      feed: 'auditFeed',
      fields: 'chainIndex signalId actor outcome',
      filter: { event: { eq: 'ModificationRefused' } },
    },
    signal,
  );
  await refuseUpdate(target.databaseUrl, refusals, signals, report);
  await verifyBothLogs(target.databaseUrl, report, signal);
}

async function deriveAll(): Promise<SignalInput[]> {
  const histories = await readPriceHistories();
  return histories.flatMap(deriveSignals);
}

function wordInputs(inputs: readonly SignalInput[]): string {
  const symbols = new Set(inputs.map(({ symbol }) => symbol));
  const strategies = new Set(inputs.map(({ strategy }) => strategy));
  return `${inputs.length} signals on ${symbols.size} symbols from ${[...strategies].sort().join(', ')}`;
}

/** Follows the feed past the last recorded signal, and checks that it delivered each new one once. */
async function followToEnd(feed: Follower<{ id: string }>, signals: readonly RecordedSignal[], replayed: number) {
  const last = signals.reduce((most, { chainIndex }) => (BigInt(chainIndex) > most ? BigInt(chainIndex) : most), -1n);
  const seen = await feed.until(({ cursor }) => cursor > last);
  const distinct = new Set(seen.rows.map(({ id }) => id));
  const expected = signals.length - replayed;
  if (seen.rows.length !== expected || distinct.size !== expected) {
    throw new Error(`the feed delivered ${seen.rows.length} signals where ${expected} were recorded`);
  }
  return seen;
}

async function refuseUpdate(
  databaseUrl: string,
  refusals: Follower<RefusalEntry>,
  signals: readonly RecordedSignal[],
  report: StepReport,
): Promise<void> {
  const signalId = signals.at(-1)?.id ?? '';
  await report.run(
    'Try an UPDATE past the API',
    () => attemptUpdate(databaseUrl, signalId),
    ({ sqlState, message }) => `PostgreSQL refused it (${sqlState}): ${message}`,
  );
  await report.run(
    'Find the refusal in the audit log',
    () => refusals.until(({ rows }) => rows.some((entry) => entry.signalId === signalId)),
    ({ rows }) => rows.map((entry) => `entry ${entry.chainIndex}: ${entry.actor}, ${entry.outcome}`).join('; '),
  );
}

async function verifyBothLogs(databaseUrl: string, report: StepReport, signal: AbortSignal): Promise<void> {
  await report.run(
    'Verify both logs',
    async () => {
      const verifications = await verifyLogs({ source: { url: databaseUrl }, logs: ['signals', 'audit'], signal });
      const broken = verifications.find(({ firstBreak }) => firstBreak !== null);
      if (broken !== undefined) throw new Error(`the log ${broken.log} is broken: ${broken.firstBreak?.message ?? ''}`);
      return verifications;
    },
    (verifications) => verifications.map(wordVerification).join('; '),
  );
}

function wordVerification({ log, entries, entriesPerSecond }: LogVerification): string {
  return `${log}: ${entries} entries intact, ${Math.round(entriesPerSecond)}/s`;
}
