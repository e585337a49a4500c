import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { attachLedger } from '../../src/cli/attach-ledger.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { openKeys, openStore } from '../../src/open-proofs.js';
import { openRetention } from '../../src/open-retention.js';
import { restoreArchives } from '../../src/retention/restore-archives.js';
import { runRetention } from '../../src/retention/run-retention.js';

/** What a node does about retention, in a process that a test can kill: waits for a line, does what it says, and ends. */
const { signal } = new AbortController();
await using stack = new AsyncDisposableStack();
const ledger = await attachLedger(stack, process.argv[2] ?? 'retention process', signal);
const store = openStore(ledger.config);
if (store !== null) stack.use(store);
const services = openRetention({ ...ledger, proofs: { services: { keys: await openKeys(ledger) }, store } });
const lines = createInterface(process.stdin);
process.stdout.write('ready\n');
const [line] = (await once(lines, 'line')) as [string];
const origin = serviceOrigin('retention', randomUUID());
if (line === 'retention') {
  process.stdout.write(`${JSON.stringify(await runRetention(services, origin, signal))}\n`);
} else {
  const [firstIndex = '', lastIndex = ''] = line.split('-');
  const request = { selection: { firstIndex, lastIndex }, reason: 'a test', origin, append: services.append, signal };
  const archives = await restoreArchives(services, request);
  process.stdout.write(`${JSON.stringify(archives.map(({ state }) => state))}\n`);
}
lines.close();
