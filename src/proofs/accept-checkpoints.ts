import type { LogName } from '../ledger/rows.js';
import { readStoredCheckpoint } from './known-checkpoints.js';
import type { CheckpointRow } from './read-checkpoints.js';
import type { SigningKeys } from './signing-keys.js';

/** Throws LOG_INCONSISTENT for a row that is no checkpoint signed by its log's own key. */
export type AcceptCheckpoint = (row: CheckpointRow) => Promise<void>;

/**
 * What stands between the table and those who are served from it: whoever may write into the database may have put a row
 * there. The last note of each log is judged once.
 */
export function acceptCheckpoints(keys: Pick<SigningKeys, 'originOf' | 'verifiersOf' | 'refresh'>): AcceptCheckpoint {
  const accepted = new Map<LogName, string>();
  // Those that were judged by keys read anew: reading these once more would tell nothing.
  const judged = new Map<LogName, string>();
  return async (row) => {
    const { log, note } = row;
    if (accepted.get(log) === note) return;
    const judge = () => readStoredCheckpoint(row, keys.originOf(log), keys.verifiersOf(log));
    try {
      judge();
    } catch (error) {
      if (judged.get(log) === note) throw error;
      // Another node may have made the key that signed it.
      await keys.refresh();
      judged.set(log, note);
      judge();
    }
    accepted.set(log, note);
  };
}
