import type pg from 'pg';
import type { LogName } from './rows.js';
import { breaksKeptMax, type BreakList } from '../core/log-breaks.js';

/** What a signal and its SignalCreated entry must agree in. */
const sameSignal = `entry.signal_id = signal.signal_id
  AND entry.details ->> 'chainIndex' = signal.chain_index::text
  AND entry.details ->> 'verificationHash' = encode(signal.verification_hash, 'hex')`;

const unpairedSignals = `
  SELECT signal.chain_index AS index, signal.signal_id AS "signalId", count(*) OVER () AS total
  FROM public.signals AS signal
    LEFT JOIN (SELECT * FROM public.audit_entries WHERE event = 'SignalCreated') AS entry ON ${sameSignal}
  WHERE entry.chain_index IS NULL ORDER BY signal.chain_index LIMIT ${breaksKeptMax}`;

const unpairedEntries = `
  SELECT entry.chain_index AS index, entry.signal_id AS "signalId", count(*) OVER () AS total
  FROM (SELECT chain_index, signal_id, details, row_number() OVER (PARTITION BY signal_id ORDER BY chain_index) AS turn
        FROM public.audit_entries WHERE event = 'SignalCreated') AS entry
    LEFT JOIN public.signals AS signal ON ${sameSignal}
  WHERE signal.chain_index IS NULL OR entry.turn > 1 ORDER BY entry.chain_index LIMIT ${breaksKeptMax}`;

/**
 * One transaction appends a signal and its entry, as one restore loads both logs; a savepoint does not change the id that
 * the column holds. Whoever rewrites a row and its xid together makes its xmin fit, and no longer its partner's xid.
 */
const strangerPairs = `
  SELECT signal.chain_index AS index, signal.xid AS "signalXid", entry.chain_index AS "entryIndex",
         entry.xid AS "entryXid", count(*) OVER () AS total
  FROM public.signals AS signal JOIN public.audit_entries AS entry ON entry.event = 'SignalCreated' AND ${sameSignal}
  WHERE entry.xid <> signal.xid ORDER BY signal.chain_index LIMIT ${breaksKeptMax}`;

interface StrangerPair {
  readonly index: string;
  readonly signalXid: string;
  readonly entryIndex: string;
  readonly entryXid: string;
  readonly total: string;
}

/**
 * Checks that each signal has exactly one SignalCreated entry naming its index and hash, and each such entry its signal.
 * The server joins the logs, in its own bounded memory; the direction depends on the log whose breaks are wanted.
 */
export async function verifyPairs(client: pg.ClientBase, log: LogName, breaks: BreakList): Promise<void> {
  const found = await client.query<{ index: string; signalId: string | null; total: string }>(
    log === 'signals' ? unpairedSignals : unpairedEntries,
  );
  for (const { index, signalId } of found.rows) {
    if (log === 'signals') {
      breaks.add(
        'SIGNAL_ENTRY_MISSING',
        Number(index),
        `signal ${signalId ?? ''} has no SignalCreated entry of its own`,
      );
    } else {
      breaks.add('SIGNAL_MISSING', Number(index), `no signal ${signalId ?? ''} is recorded as this entry says`);
    }
  }
  breaks.countFurther(Number(found.rows[0]?.total ?? 0) - found.rows.length);
  if (log === 'signals') await verifyWriters(client, breaks);
}

async function verifyWriters(client: pg.ClientBase, breaks: BreakList): Promise<void> {
  const { rows } = await client.query<StrangerPair>(strangerPairs);
  for (const { index, signalXid, entryIndex, entryXid } of rows) {
    const message = `appended by transaction ${signalXid}, its SignalCreated entry ${entryIndex} by ${entryXid}`;
    breaks.add('ROW_REWRITTEN', Number(index), message);
  }
  breaks.countFurther(Number(rows[0]?.total ?? 0) - rows.length);
}
