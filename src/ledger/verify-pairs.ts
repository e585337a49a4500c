import type pg from 'pg';
import type { LogName } from './rows.js';
import { breaksKeptMax, type BreakList } from '../core/log-breaks.js';

/** What a signal and its SignalCreated entry must agree in. */
const sameSignal = `entry.signal_id = signal.signal_id
  AND entry.details ->> 'chainIndex' = signal.chain_index::text
  AND entry.details ->> 'verificationHash' = encode(signal.verification_hash, 'hex')`;

/**
 * One transaction appends a signal and its entry, as one restore loads both logs; a savepoint does not change the id that
 * the column holds. Whoever rewrites a row and its xid together makes its xmin fit, and no longer its partner's xid.
 */
const wrongSignals = `
  SELECT signal.chain_index AS index, signal.signal_id AS "signalId", signal.xid AS "signalXid",
         entry.chain_index AS "entryIndex", entry.xid AS "entryXid", count(*) OVER () AS total
  FROM public.signals AS signal
    LEFT JOIN (SELECT * FROM public.audit_entries WHERE event = 'SignalCreated') AS entry ON ${sameSignal}
  WHERE entry.xid <> signal.xid
    -- The entries of signals that were recorded no later than the last removed entry may have been removed with it.
    OR (entry.chain_index IS NULL AND signal.server_timestamp > coalesce(
      (SELECT last_recorded_at FROM public.ledger_purges ORDER BY number DESC LIMIT 1), '-infinity'))
  ORDER BY signal.chain_index LIMIT ${breaksKeptMax}`;

interface WrongSignal {
  readonly index: string;
  readonly signalId: string;
  readonly signalXid: string;
  /** Null where the signal has no entry. */
  readonly entryIndex: string | null;
  readonly entryXid: string | null;
  readonly total: string;
}

const unpairedEntries = `
  SELECT entry.chain_index AS index, entry.signal_id AS "signalId", count(*) OVER () AS total
  FROM (SELECT chain_index, signal_id, details, row_number() OVER (PARTITION BY signal_id ORDER BY chain_index) AS turn
        FROM public.audit_entries WHERE event = 'SignalCreated') AS entry
    LEFT JOIN public.signals AS signal ON ${sameSignal}
  WHERE signal.chain_index IS NULL OR entry.turn > 1 ORDER BY entry.chain_index LIMIT ${breaksKeptMax}`;

interface UnpairedEntry {
  readonly index: string;
  readonly signalId: string | null;
  readonly total: string;
}

/**
 * Checks that each signal has exactly one SignalCreated entry naming its index and hash, appended by the same transaction,
 * and each such entry its signal. The server joins the logs, in its own bounded memory; the direction depends on the log
 * whose breaks are wanted.
 */
export async function verifyPairs(client: pg.ClientBase, log: LogName, breaks: BreakList): Promise<void> {
  const total = log === 'signals' ? await verifySignals(client, breaks) : await verifyAnnouncements(client, breaks);
  breaks.countFurther(total - breaksKeptMax);
}

async function verifySignals(client: pg.ClientBase, breaks: BreakList): Promise<number> {
  const { rows } = await client.query<WrongSignal>(wrongSignals);
  for (const { index, signalId, signalXid, entryIndex, entryXid } of rows) {
    if (entryIndex === null) {
      breaks.add('SIGNAL_ENTRY_MISSING', Number(index), `signal ${signalId} has no SignalCreated entry of its own`);
    } else {
      const message = `appended by transaction ${signalXid}, its SignalCreated entry ${entryIndex} by ${entryXid}`;
      breaks.add('ROW_REWRITTEN', Number(index), message);
    }
  }
  return Number(rows[0]?.total ?? 0);
}

async function verifyAnnouncements(client: pg.ClientBase, breaks: BreakList): Promise<number> {
  const { rows } = await client.query<UnpairedEntry>(unpairedEntries);
  for (const { index, signalId } of rows) {
    breaks.add('SIGNAL_MISSING', Number(index), `no signal ${signalId ?? ''} is recorded as this entry says`);
  }
  return Number(rows[0]?.total ?? 0);
}
