import { openDirectoryStore } from '../../src/storage/directory-store.js';
import { appendTokens } from './append-tokens.js';

/**
 * A process that works on the folder argv[3] as argv[2] says:
 * - `overwrite`: replaces eight objects in turn until it is killed, each time with 64 KiB of another one letter, and prints a
 *   line for each;
 * - `append`: appends its tokens, argv[4] of them that begin with argv[5], to one object;
 * - `refused`: gives up root where it is root, writes one object and prints the code of the error.
 */
const [task = '', folder = '', count = '0', name = ''] = process.argv.slice(2);
const store = openDirectoryStore(folder);

switch (task) {
  case 'overwrite':
    for (let round = 0; ; round++) {
      await store.write(`deep/object-${round % 8}`, Buffer.alloc(65_536, 65 + (round % 26)));
      process.stdout.write(`${round}\n`);
    }
  case 'append':
    await appendTokens(store, 'shared/list', name, Number(count));
    break;
  case 'refused':
    if (process.geteuid?.() === 0) process.seteuid?.(65_534);
    await store.write('object', Buffer.of(1)).catch((err: { code?: string }) => process.stdout.write(String(err.code)));
    break;
  default:
    throw new Error(`no such task: ${task}`);
}
