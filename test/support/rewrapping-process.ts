import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { ApiKeyStore } from '../../src/access/api-key-store.js';
import { attachLedger } from '../../src/cli/attach-ledger.js';
import { openKeys } from '../../src/open-proofs.js';
import { openSecrets } from '../../src/open-secrets.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';

/** A node's part in rotations, in a process that a test can kill: waits for a line, then takes every step that is due. */
const { signal } = new AbortController();
await using stack = new AsyncDisposableStack();
const ledger = await attachLedger(stack, process.argv[2] ?? 'rewrapping process', signal);
const apiKeys = stack.use(new ApiKeyStore(ledger.pool, ledger.clock, ledger.log));
const { secrets } = await openSecrets({ ...ledger, apiKeys, keys: await openKeys(ledger) });
const machine = new RotationMachine(secrets);
const lines = createInterface(process.stdin);
let isAsked = true;
lines.on('close', () => (isAsked = false));
process.stdout.write('ready\n');
await once(lines, 'line');
while (isAsked) {
  await machine.runDue(signal);
  await pause(20);
}
