#!/usr/bin/env node
import './production.js';

const nodeMajorMin = 24;

if (Number.parseInt(process.versions.node, 10) < nodeMajorMin) {
  process.stderr.write(
    `Daybook runs on Node ${nodeMajorMin}, and this is ${process.version}. npm brings the right one along: use npm start, or npm run daybook -- <command>.\n`,
  );
  process.exitCode = 1;
} else {
  // Loaded only now: what it imports does not even link on an older Node.
  const { runProgram } = await import('./cli/program.js');
  await runProgram();
}
