// Adds to package-lock.json the platform packages that npm left out. A registry mirror need not carry native parts for
// other systems; npm then writes a lock file without them, which `npm ci` refuses everywhere. Run after `npm install`:
//   node .ci/complete-lock.js
import { readFileSync, writeFileSync } from 'node:fs';

const systems = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const processors = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64', 'wasm32'];

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const added = [];
for (const [place, parent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const nested = `${place}/node_modules/${name}`;
    const hoisted = `node_modules/${name}`;
    if (place === '' || nested in lock.packages || hoisted in lock.packages) continue;
    const words = name.split(/[-/.]/);
    const os = systems.find((system) => words.includes(system));
    const cpu = processors.find((processor) => words.includes(processor));
    // Without both the package would be installed here; then its absence is a fault that npm ci should report.
    if (os === undefined || cpu === undefined) continue;
    lock.packages[hoisted] = {
      version,
      cpu: [cpu],
      ...(parent.dev === true ? { dev: true } : {}),
      optional: true,
      os: [os],
    };
    added.push(`${name}@${version}`);
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0)),
);
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(added.length === 0 ? 'nothing was missing\n' : `added ${added.length}: ${added.join(' ')}\n`);
