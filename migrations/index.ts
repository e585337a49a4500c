import { Migration0001Ledger } from './0001-ledger.js';
import { Migration0002Proofs, proofTables } from './0002-proofs.js';
import { Migration0003Guards } from './0003-guards.js';
import { Migration0004AuditQueries } from './0004-audit-queries.js';
import { Migration0005Sinks } from './0005-sinks.js';
import { configSnapshotTables, Migration0006ConfigSnapshots } from './0006-config-snapshots.js';
import { Migration0007ExportPacks, packTables } from './0007-export-packs.js';
import { Migration0008Retention, retentionTables } from './0008-retention.js';
import { Migration0009Secrets, secretTables } from './0009-secrets.js';

/** Every migration in order of execution: an explicit list, so that a file lying about is not run. */
export const migrationsList = [
  { name: '0001-ledger', class: Migration0001Ledger },
  { name: '0002-proofs', class: Migration0002Proofs, evidenceTables: proofTables },
  { name: '0003-guards', class: Migration0003Guards },
  { name: '0004-audit-queries', class: Migration0004AuditQueries },
  { name: '0005-sinks', class: Migration0005Sinks },
  { name: '0006-config-snapshots', class: Migration0006ConfigSnapshots, evidenceTables: configSnapshotTables },
  { name: '0007-export-packs', class: Migration0007ExportPacks, evidenceTables: packTables },
  { name: '0008-retention', class: Migration0008Retention, evidenceTables: retentionTables },
  { name: '0009-secrets', class: Migration0009Secrets, evidenceTables: secretTables },
];
