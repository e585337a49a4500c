import type { CallOrigin } from '../ledger/new-entries.js';
import type { Append } from '../access/request-calls.js';
import { diffSnapshots, type SnapshotDiff } from './diff-snapshots.js';
import {
  getSnapshot,
  readFileLists,
  readLatestOf,
  type ConfigSnapshotRow,
  type SnapshotOccasion,
} from './read-snapshots.js';
import type { SnapshotFile } from './snapshot-file.js';
import {
  describeSnapshot,
  recordConfigSnapshot,
  takeConfigSnapshot,
  type ConfigSnapshot,
  type ConfigSnapshotParts,
} from './take-config-snapshot.js';

declare module '../access/request-context.js' {
  interface Services {
    readonly configSnapshots: ConfigSnapshotService;
  }
}

/** Who asks for a snapshot, why, and through which append it is recorded. */
export interface SnapshotRequest {
  readonly occasion: SnapshotOccasion;
  readonly reason: string;
  readonly origin: CallOrigin;
  readonly append: Append;
}

/** Snapshots of this node's configuration, for resolvers, the start, evidence packs and the command line. */
export class ConfigSnapshotService {
  constructor(private readonly parts: Omit<ConfigSnapshotParts, 'append' | 'occasion' | 'origin'>) {}

  /** Records a snapshot. Throws BAD_USER_INPUT for an unusable reason and what database and append throw. */
  take({ reason, ...request }: SnapshotRequest): Promise<ConfigSnapshotRow> {
    return recordConfigSnapshot({ ...this.parts, ...request }, reason);
  }

  /** Records a snapshot and describes it in the form of evidence packs. Throws as `take`. */
  takeDescribed({ reason, ...request }: SnapshotRequest): Promise<ConfigSnapshot> {
    return takeConfigSnapshot({ ...this.parts, ...request }, reason);
  }

  /**
   * Records a snapshot for an evidence pack: `snapshot` is its JSON text, `diff` what differs from the snapshot of the pack
   * before, empty for the first one.
   */
  async takeForPack(request: Omit<SnapshotRequest, 'occasion'>): Promise<{ snapshot: string; diff: string }> {
    const { database, diff } = this.parts;
    const before = await readLatestOf(database, 'PACK');
    const row = await this.take({ ...request, occasion: 'PACK' });
    const compared = before === null ? null : await diffSnapshots(database, before, row, diff);
    return {
      snapshot: `${JSON.stringify(await describeSnapshot(this.parts, row), null, 2)}\n`,
      diff: compared?.text ?? '',
    };
  }

  /** What differs from one snapshot to another, by their ids. Throws NOT_FOUND. */
  async diff(from: string, to: string): Promise<SnapshotDiff> {
    const { database, diff } = this.parts;
    return diffSnapshots(database, await getSnapshot(database, from), await getSnapshot(database, to), diff);
  }

  /** What changed with a snapshot; null for one that was compared with none. */
  async diffOf(row: ConfigSnapshotRow): Promise<SnapshotDiff | null> {
    return row.previousId === null ? null : this.diff(row.previousId, row.id);
  }

  async filesOf(row: ConfigSnapshotRow): Promise<readonly SnapshotFile[]> {
    return (await readFileLists(this.parts.database, [row.filesHash])).get(row.filesHash) ?? [];
  }
}
