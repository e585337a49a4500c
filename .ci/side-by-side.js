/**
 * Runs scripts of package.json, two at a time, and prints what each said when it has ended, in the order they were named. Ends with 1
 * where one of them failed: `node .ci/side-by-side.js lint types`.
 */
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const atOnce = 2;
const names = process.argv.slice(2);
const waiting = [...names];
const results = new Map(names.map((name) => [name, Promise.withResolvers()]));

async function runWaiting() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const child = spawn('npm', ['run', name], { stdio: ['ignore', 'pipe', 'pipe'] });
    const parts = [];
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => parts.push(part));
    const [code] = await once(child, 'close');
    results.get(name).resolve({ code, output: Buffer.concat(parts) });
  }
}

const running = Promise.all(Array.from({ length: atOnce }, runWaiting));
for (const name of names) {
  const { code, output } = await results.get(name).promise;
  process.stdout.write(output);
  if (code === 0) continue;
  process.stderr.write(`${name} failed\n`);
  process.exitCode = 1;
}
await running;
