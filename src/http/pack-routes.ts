import { Router } from 'express';
import { auditReaders } from '../access/audited.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { openPackFile } from '../packs/open-pack-file.js';
import { readPack } from '../packs/read-packs.js';
import type { ObjectStore } from '../storage/object-store.js';
import { recordedDownload, type Download } from './audit-route-download.js';
import type { RestServices } from './rest-calls.js';

export interface PackRouteSources {
  readonly database: Queryable;
  readonly folder: string;
  readonly store: ObjectStore | null;
  readonly rest: RestServices;
}

const contentTypes: Readonly<Record<string, string>> = {
  age: 'application/octet-stream',
  csv: 'text/csv; charset=utf-8',
  diff: 'text/x-diff; charset=utf-8',
  gz: 'application/gzip',
  // Shown as text: the page is to be opened from the pack that was verified.
  html: 'text/plain; charset=utf-8',
  json: 'application/json',
  jsonl: 'application/jsonl',
};

/** `/packs/<id>/<file>`: the files of evidence packs; each download leaves an entry. */
export function packRoutes({ database, folder, store, rest }: PackRouteSources): Router {
  const router = Router({ caseSensitive: true, strict: true });
  router.get(
    '/packs/:id/:file',
    recordedDownload(rest, {
      roles: auditReaders,
      open: async (request): Promise<Download> => {
        const { id, file } = request.params as { id: string; file: string };
        const pack = await readPack(database, id);
        if (pack === null) throw new DaybookError('NOT_FOUND', 'there is no such pack: exportPacks lists them');
        const source = await openPackFile({ folder, store }, pack, file);
        const type = contentTypes[file.slice(file.lastIndexOf('.') + 1)] ?? 'text/plain; charset=utf-8';
        return {
          headers: {
            'Content-Type': type,
            'Content-Disposition': `attachment; filename="daybook-${pack.date}-${file}"`,
          },
          entry: { bytes: String(source.size), file, packDate: pack.date },
          chunks: source.chunks,
          rows: () => 0,
          [Symbol.asyncDispose]: () => Promise.resolve(),
        };
      },
    }),
  );
  return router;
}
