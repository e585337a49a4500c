import { Migration0001Ledger } from './0001-ledger.js';
import { Migration0002Proofs, proofTables } from './0002-proofs.js';

/** Every migration in order of execution: an explicit list, so that a file lying about is not run. */
export const migrationsList = [
  { name: '0001-ledger', class: Migration0001Ledger },
  { name: '0002-proofs', class: Migration0002Proofs, evidenceTables: proofTables },
];
