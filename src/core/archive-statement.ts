/** What the log's key signs of an archive (docs/format.md, "Archives"). Hashes are lower-case hex, times canonical. */
export interface ArchiveStatement {
  /** Of the log, as in `daybook.example/audit`. */
  readonly origin: string;
  readonly firstIndex: string;
  readonly lastIndex: string;
  /** `chain_hash` of the entry before the first, and of the last. */
  readonly previousHash: string;
  readonly chainHash: string;
  readonly firstRecordedAt: string;
  readonly lastRecordedAt: string;
  readonly holdsSignals: boolean;
  readonly objectKey: string;
  /** Of the object. */
  readonly bytes: string;
  /** SHA-256 of the object. */
  readonly objectHash: string;
  readonly versionId: string | null;
}

/** The text of the note. Its first line is no log's origin, so that it is never taken for a checkpoint. */
export function encodeArchiveStatement(statement: ArchiveStatement): string {
  return [
    'daybook-archive-v1',
    statement.origin,
    statement.firstIndex,
    statement.lastIndex,
    statement.previousHash,
    statement.chainHash,
    statement.firstRecordedAt,
    statement.lastRecordedAt,
    statement.holdsSignals ? 'signals' : 'none',
    statement.objectKey,
    statement.bytes,
    statement.objectHash,
    statement.versionId ?? '-',
    '',
  ].join('\n');
}
