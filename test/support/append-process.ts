import { pino } from 'pino';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { sampleEntry, sampleSignal } from './sample-entries.js';

/**
 * A process of writers, each with a connection of its own: argv[2] is the URL, argv[3] a name, argv[4] how many writers,
 * argv[5] how many entries each appends to both logs together, ten at a time.
 */
const [url = '', name = '', writers = '0', entries = '0'] = process.argv.slice(2);
const rows = 10;

await Promise.all(
  Array.from({ length: Number(writers) }, async (_, place) => {
    await using writer = new LedgerWriter({ url, queueRowsMax: 1_000, log: pino({ level: 'silent' }) });
    for (let sent = 0; sent < Number(entries); sent += rows) {
      const ids = Array.from({ length: rows / 2 }, (_unused, row) => `${name}-${place}-${sent + row}`);
      await writer.append({ signals: ids.map((id) => sampleSignal(id)), entries: ids.map((id) => sampleEntry(id)) });
    }
  }),
);
