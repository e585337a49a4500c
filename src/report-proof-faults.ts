import { createHash, randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Append } from './access/request-calls.js';
import { reportIncidents, type IncidentReport } from './integrity/incidents.js';
import { serviceOrigin } from './integrity/integrity-entry.js';
import type { LogName } from './ledger/rows.js';
import type { PublicationLoss } from './proofs/log-publisher.js';
import type { UnsignedEntries } from './proofs/watch-unsigned.js';

/** Opens incidents for what goes wrong with signing and publishing, or counts them up where they are open. */
export interface ProofFaultReports {
  readonly loss: (log: LogName, loss: PublicationLoss) => Promise<void>;
  readonly unsigned: (unsigned: UnsignedEntries) => Promise<void>;
}

export function proofFaultReports(parts: { readonly pool: pg.Pool; readonly append: Append }): ProofFaultReports {
  const report = (reporter: string, incident: IncidentReport) =>
    reportIncidents({ database: parts.pool, append: parts.append }, [incident], serviceOrigin(reporter, randomUUID()));
  return {
    loss: (log, { store, expected, found }) =>
      report('publisher', {
        kind: 'ANCHOR',
        fingerprint: fingerprintOf('published', log, store),
        title: `The object store lost the published ${log} log`,
        details: () => ({ log, store, expected: String(expected), found: found === null ? 'none' : String(found) }),
      }),
    unsigned: ({ log, entries, checkpointSize }) =>
      report('signer', {
        kind: 'SIGNER',
        fingerprint: fingerprintOf('unsigned', log),
        title: `Entries of the ${log} log stay unsigned`,
        details: () => ({ log, entries: String(entries), checkpointSize: String(checkpointSize) }),
      }),
  };
}

/** Names an error for incidents without its changing parts: the same fault has the same name. */
export function fingerprintOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 32);
}
