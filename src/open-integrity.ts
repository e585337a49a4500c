import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from './access/request-calls.js';
import { verifyAnchors } from './anchors/anchor-roots.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import type { LogBreak } from './core/log-breaks.js';
import { DaybookError } from './errors.js';
import type { Metrics } from './http/metrics.js';
import { reportIncidents } from './integrity/incidents.js';
import { serviceOrigin } from './integrity/integrity-entry.js';
import { IntegrityService, type CheckMetrics } from './integrity/integrity-service.js';
import type { FullVerificationOptions, OutsideChecks } from './integrity/look-for-breaks.js';
import { logNames, type LogName } from './ledger/rows.js';
import { verifyEntries } from './ledger/verify-entries.js';
import { openSeenCheckpoints, type ProofNode } from './open-proofs.js';
import { readPublishedCheckpoints } from './proofs/read-published.js';
import { samplePublished } from './proofs/sample-published.js';
import { sampleArchives } from './retention/sample-archives.js';
import { fingerprintOf } from './report-proof-faults.js';

export interface IntegrityParts {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly pool: pg.Pool;
  /** URL of the auditor role: checks look through it. */
  readonly readerUrl: string;
  readonly append: Append;
  readonly proofs: Pick<ProofNode, 'store' | 'files' | 'anchors'>;
  readonly metrics?: CheckMetrics;
}

/** The integrity monitor of a node or of one command. */
export function openIntegrity(parts: IntegrityParts): IntegrityService {
  const { config, log, clock, pool, readerUrl } = parts;
  return new IntegrityService({
    database: pool,
    readerUrl,
    verifyEntries: ({ source, log: name, signal, ...selection }) =>
      verifyEntries({
        source,
        log: name,
        // A selection ends before `to`.
        indexes: 'indexes' in selection ? selection.indexes : { from: selection.from, to: selection.to - 1 },
        ...(signal === undefined ? {} : { signal }),
      }),
    fullOptions: () => readFullOptions(parts),
    outsideChecks: outsideChecks(parts),
    recentMinutes: config.integrityRecentMinutes,
    clock,
    log,
    ...(parts.metrics === undefined ? {} : { metrics: parts.metrics }),
  });
}

/** What lies outside the database joins the verification; a store that cannot be read is reported by the checks below. */
async function readFullOptions({ proofs, log }: IntegrityParts): Promise<FullVerificationOptions> {
  try {
    return { publishedCheckpoints: await readPublishedCheckpoints(proofs.store, proofs.files) };
  } catch (error) {
    log.warn({ err: error }, 'published checkpoints could not be read: the check goes on without those in the store');
    return { publishedCheckpoints: await readPublishedCheckpoints(null, proofs.files) };
  }
}

function outsideChecks({ config, proofs, append, pool, log }: IntegrityParts): OutsideChecks {
  return async (kind, signal) => {
    if (kind !== 'FULL') return [];
    const breaks: Record<LogName, LogBreak[]> = { signals: [], audit: [] };
    const options = { database: pool, append, anchors: proofs.anchors, log };
    const { faults, unreadable } = await verifyAnchors(options, signal ?? new AbortController().signal);
    for (const fault of faults) {
      breaks[fault.log].push({ code: fault.code, index: fault.index, message: fault.message });
    }
    for (const { log: name, found } of await samplePublishedLogs({ config, proofs, pool, log }, signal)) {
      breaks[name].push(...found);
    }
    const missing = unreadable
      .filter(({ anchor }) => anchor.mode === 'required')
      .map(({ anchor, message }) => `${anchor.target} is required and cannot be read: ${message}`);
    if (missing.length === 0 && config.anchors.store === 'required' && proofs.store !== null) {
      // Before the first root is kept there, too.
      const { description } = proofs.store;
      await proofs.store.describe().catch((error: unknown) => {
        missing.push(`${description} is required and cannot be read: ${(error as Error).message}`);
      });
    }
    for (const message of missing) {
      for (const name of logNames) breaks[name].push({ code: 'ANCHOR_MISSING', index: null, message });
    }
    return logNames.map((name) => ({ log: name, breaks: breaks[name] }));
  };
}

/** What is published, and archives. Nothing is known of a store that cannot be read; where it is required, the caller says so. */
async function samplePublishedLogs(
  { config, proofs: { store }, pool, log }: Pick<IntegrityParts, 'config' | 'proofs' | 'pool' | 'log'>,
  signal: AbortSignal | undefined,
): Promise<readonly { readonly log: LogName; readonly found: readonly LogBreak[] }[]> {
  if (store === null) return [];
  const options = { database: pool, store, seen: openSeenCheckpoints(config, store), ...(signal && { signal }) };
  const sampled: { log: LogName; found: LogBreak[] }[] = [];
  try {
    for (const name of logNames) sampled.push({ log: name, found: await samplePublished({ ...options, log: name }) });
    sampled.push({ log: 'audit', found: await sampleArchives({ database: pool, store }, signal) });
  } catch (error) {
    if (!(error instanceof DaybookError) || !error.code.startsWith('OBJECT_STORE_')) throw error;
    log.warn({ err: error }, 'what is published could not be looked at');
  }
  return sampled;
}

/** Opens an incident when signing begins to be refused; what goes on again is in the log alone, people close incidents. */
export function refusalReporter(parts: { readonly pool: pg.Pool; readonly append: Append; readonly log: Logger }) {
  return async (log: LogName, error: DaybookError | null): Promise<void> => {
    if (error === null) {
      parts.log.info({ log }, 'checkpoints are signed again');
      return;
    }
    await reportIncidents(
      { database: parts.pool, append: parts.append },
      [
        {
          kind: 'SIGNER',
          fingerprint: fingerprintOf('signer', log, error.code),
          title: `The signer refuses the ${log} log: ${error.code}`,
          details: () => ({ code: error.code, log, reason: error.message }),
        },
      ],
      serviceOrigin('signer', randomUUID()),
    );
  };
}

/** Counts checks under the names that dashboards use. */
export function checkMetrics(metrics: Metrics): CheckMetrics {
  return {
    failed: (count) => metrics.failedVerifications.inc(count),
    duration: (kind, seconds) => metrics.verificationSeconds.observe({ kind }, seconds),
    finished: (kind, result) => metrics.integrityChecks.inc({ kind, result }),
  };
}
