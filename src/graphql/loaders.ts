import DataLoader from 'dataloader';
import { readSignalsById, readSupersedingSignals, type Queryable } from '../ledger/read-entries.js';
import { NeighbourReader } from '../ledger/read-neighbours.js';
import type { SignalRow } from '../ledger/rows.js';
import type { Loaders } from '../access/request-context.js';

const idsPerReadMax = 1_000;

/** Loaders for one request: what it reads twice is read once, and single reads of one turn share a query. */
export function createLoaders(database: Queryable): Loaders {
  const load = (read: (ids: readonly string[]) => Promise<SignalRow[]>, keyOf: (row: SignalRow) => string | null) =>
    new DataLoader<string, SignalRow | null>(
      async (ids) => {
        const rows = new Map((await read(ids)).map((row) => [keyOf(row), row]));
        return ids.map((id) => rows.get(id) ?? null);
      },
      { maxBatchSize: idsPerReadMax },
    );
  let signalById: Loaders['signalById'] | undefined;
  let signalSuperseding: Loaders['signalSuperseding'] | undefined;
  let neighbours: NeighbourReader | undefined;
  // Made when first asked for: most requests read nothing by id.
  return {
    get signalById() {
      return (signalById ??= load(
        (ids) => readSignalsById(database, ids),
        (row) => row.signalId,
      ));
    },
    get signalSuperseding() {
      return (signalSuperseding ??= load(
        (ids) => readSupersedingSignals(database, ids),
        (row) => row.supersedes,
      ));
    },
    get neighbours() {
      return (neighbours ??= new NeighbourReader(database));
    },
  };
}
