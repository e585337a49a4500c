import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from '../access/request-calls.js';
import { encodeHex } from '../core/bytes.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { placeOf, readAnchorTasks, readUnkeptTasks, type Anchor, type AnchorProof, type AnchorTask } from './anchor.js';

/** Anchors of one pass and passes of one run; what is left waits for the next run. */
const tasksPerPassMax = 1_000;
const passesMax = 1_000;
/** The first pause after a failure, and the longest, in seconds. */
const pauseFirstSeconds = 10;
const pauseMaxSeconds = 3_600;
/** Held by a run: two at once would ask everybody twice. Nothing else on the database may use this number. */
const runLock = '7219460237150049';
/**
 * A run waits so long for another one, in milliseconds, and then goes on beside it: who holds the lock need not be one of us,
 * and what is stored is right without it.
 */
const lockWaitMs = 60_000;
const lockLookMs = 200;

export interface AnchorOptions {
  /** The application role's pool; its options also open the connection that holds the lock of a run. */
  readonly database: Queryable & Pick<pg.Pool, 'options'>;
  readonly append: Append;
  readonly anchors: readonly Anchor[];
  readonly log: Logger;
}

/** An anchor's answer that is evidence of a fork: it keeps or cosigned another tree than this root's. */
interface ForkEvidence {
  readonly log: AnchorTask['root']['log'];
  readonly date: string;
  readonly target: string;
  readonly message: string;
}

export interface AnchorRun {
  readonly anchored: number;
  readonly failed: number;
  readonly forks: readonly ForkEvidence[];
}

/**
 * Tries every anchor that is due, oldest day first. Success is stored together with its MerkleRootAnchored entry; a failure
 * is noted with the time of the next attempt, and the first one of an anchor leaves an AnchorFailed entry. Returns how many
 * were anchored and how many failed, and which of those show a fork. Runs of other nodes and commands are waited for.
 *
 * A crash after the outside effect leaves the row pending: the next attempt finds what is there (object store) or gets a
 * second proof (timestamp, witness), of which one is kept.
 */
export async function anchorRoots(options: AnchorOptions, signal: AbortSignal): Promise<AnchorRun> {
  await using _turn = await takeTurn(options, signal);
  let anchored = 0;
  let failed = 0;
  const forks: ForkEvidence[] = [];
  // A witness's next root comes due when its last one is anchored, so there may be more after each pass.
  for (let pass = 0; pass < passesMax; pass += 1) {
    const tasks = await readAnchorTasks(options.database, 'PENDING', null, tasksPerPassMax);
    let progress = 0;
    for (const task of tasks) {
      signal.throwIfAborted();
      const error = await tryAnchor(options, task, signal);
      if (error === null) progress += 1;
      if (error === null || error === 'elsewhere') continue;
      failed += 1;
      const { log, date } = task.root;
      if (error.details?.['fork'] === true) forks.push({ log, date, target: task.target, message: error.message });
    }
    anchored += progress;
    if (progress === 0) break;
  }
  await keepProofs(options, signal);
  return { anchored, failed, forks };
}

/** Lays proofs beside their roots in the object store; what fails is tried again in the next run. */
async function keepProofs({ database, anchors, log }: AnchorOptions, signal: AbortSignal): Promise<void> {
  for (const task of await readUnkeptTasks(database, tasksPerPassMax)) {
    signal.throwIfAborted();
    const anchor = anchors.find(({ kind, target }) => kind === task.kind && target === task.target);
    if (task.proof === null || anchor === undefined) continue;
    const { root } = task;
    try {
      await anchor.keep?.(root, task.proof);
    } catch (error) {
      log.warn({ err: error, anchor: task.target }, 'a proof could not be laid beside its root: trying again');
      return;
    }
    await database.query(
      `UPDATE public.anchors SET kept_at = clock_timestamp()
       WHERE log = $1 AND date = $2 AND kind = $3 AND target = $4 AND kept_at IS NULL`,
      [root.log, root.date, task.kind, task.target],
    );
  }
}

/** Waits for other runs. Disposing, or the end of the process, lets the next one begin. */
async function takeTurn({ database, log }: AnchorOptions, signal: AbortSignal): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const client = new pg.Client({ ...database.options, application_name: 'daybook anchors' });
  // Where it breaks, the lock is free, and the run goes on.
  client.on('error', (error) => log.warn({ err: error }, 'the lock of the anchors was lost'));
  await client.connect();
  stack.defer(() => client.end());
  for (let waitedMs = 0; ; waitedMs += lockLookMs) {
    const { rows } = await client.query<{ held: boolean }>(`SELECT pg_try_advisory_lock(${runLock}) AS held`);
    if (rows[0]?.held === true) return stack.move();
    if (waitedMs >= lockWaitMs) break;
    await delay(lockLookMs, undefined, { signal });
  }
  log.warn({ waitedMs: lockWaitMs }, 'another session holds the lock of the anchors for long: going on beside it');
  return stack.move();
}

/** Null once the root is anchored, else why it is not; `elsewhere` where somebody else anchored it, or tries it later. */
async function tryAnchor(
  options: AnchorOptions,
  task: AnchorTask,
  signal: AbortSignal,
): Promise<DaybookError | 'elsewhere' | null> {
  const anchor = options.anchors.find(({ kind, target }) => kind === task.kind && target === task.target);
  if (!(await isStillDue(options.database, task))) return 'elsewhere';
  try {
    if (anchor === undefined) throw new Error(`${task.kind} ${task.target} is not configured on this node any more`);
    await storeProof(options, task, await anchor.anchor(task.root, signal));
    return null;
  } catch (error) {
    if (signal.aborted) throw error;
    if (isAnchoredAlready(error)) return 'elsewhere';
    return (await storeFailure(options, task, error)) ? toDaybookError(error) : 'elsewhere';
  }
}

/** The task was read together with up to a thousand others, each of which may take its time. */
async function isStillDue(database: Queryable, { root, kind, target, attempts }: AnchorTask): Promise<boolean> {
  const found = await database.query(
    `SELECT FROM public.anchors WHERE log = $1 AND date = $2 AND kind = $3 AND target = $4
       AND status = 'PENDING' AND attempts = $5`,
    [root.log, root.date, kind, target, attempts],
  );
  return found.rows.length > 0;
}

/** True where the guard of the table refused to change an anchored root; nothing was recorded. */
function isAnchoredAlready(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'LEDGER_IMMUTABLE';
}

async function storeProof({ append }: AnchorOptions, task: AnchorTask, proof: AnchorProof): Promise<void> {
  const { root } = task;
  const entry = serviceEntry({
    category: 'INTEGRITY',
    event: 'MerkleRootAnchored',
    action: 'CREATE',
    resource: `${root.log}/${root.date}`,
    details: encodeCanonicalJson({
      date: root.date,
      kind: task.kind,
      log: root.log,
      reference: proof.reference,
      target: task.target,
    }),
  });
  await append({
    entries: [entry],
    alongside: async (client) => {
      await client.query(
        `UPDATE public.anchors SET status = 'ANCHORED', reference = $5, evidence = decode($6, 'hex'),
           anchored_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
         WHERE log = $1 AND date = $2 AND kind = $3 AND target = $4`,
        [root.log, root.date, task.kind, task.target, proof.reference, encodeHex(proof.evidence)],
      );
    },
  });
}

/** False where the root is anchored by now: then there is no failure to speak of. */
async function storeFailure(
  { append, database, log }: AnchorOptions,
  task: AnchorTask,
  error: unknown,
): Promise<boolean> {
  const mapped = toDaybookError(error);
  const message = (mapped.code === 'INTERNAL' && error instanceof Error ? error.message : mapped.message).slice(
    0,
    2_000,
  );
  const { root } = task;
  log.warn(
    { err: error, anchor: task.target, log: root.log, date: root.date },
    'a root could not be anchored: trying again',
  );
  const pauseSeconds = Math.min(pauseFirstSeconds * 2 ** Math.min(task.attempts, 20), pauseMaxSeconds);
  // The guard of the table refuses it for an anchored root (DB001), and with it the entry.
  const update = {
    text: `UPDATE public.anchors SET attempts = attempts + 1, last_error = $5,
             next_attempt_at = clock_timestamp() + make_interval(secs => $6)
           WHERE log = $1 AND date = $2 AND kind = $3 AND target = $4`,
    values: [root.log, root.date, task.kind, task.target, message, pauseSeconds],
  };
  const entry = serviceEntry({
    category: 'INTEGRITY',
    event: 'AnchorFailed',
    action: 'CREATE',
    resource: `${root.log}/${root.date}`,
    outcome: mapped.code,
    details: encodeCanonicalJson({
      date: root.date,
      kind: task.kind,
      log: root.log,
      reason: message,
      target: task.target,
    }),
  });
  try {
    if (task.attempts > 0) await database.query(update);
    else await append({ entries: [entry], alongside: async (client) => void (await client.query(update)) });
    return true;
  } catch (refusal) {
    if (isAnchoredAlready(toDaybookError(refusal))) return false;
    throw refusal;
  }
}

/** A fault of an anchored root. */
interface RootFault {
  readonly log: AnchorTask['root']['log'];
  readonly index: number;
  readonly code: 'ANCHOR_MISSING' | 'ANCHOR_MISMATCH';
  readonly message: string;
}

const verifiedAtOnce = 8;

/** A place that could not be asked about the roots it keeps. */
interface UnreadableAnchor {
  readonly anchor: Anchor;
  readonly message: string;
}

export interface AnchorsVerification {
  readonly faults: readonly RootFault[];
  /** Nothing is known of the roots that are kept there. */
  readonly unreadable: readonly UnreadableAnchor[];
}

/**
 * Looks at every anchored root's proof again, where the anchor is still configured. A place that cannot be read is not asked
 * again in the same run, and keeps nobody from hearing what the others show.
 */
export async function verifyAnchors(options: AnchorOptions, signal: AbortSignal): Promise<AnchorsVerification> {
  const faults: RootFault[] = [];
  const unreadable = new Map<Anchor, string>();
  let after: readonly [string, string, string, string] | null = null;
  for (;;) {
    const tasks: AnchorTask[] = await readAnchorTasks(options.database, 'ANCHORED', after, verifiedAtOnce * 8);
    const last = tasks.at(-1);
    if (last === undefined) break;
    after = placeOf(last);
    for (let from = 0; from < tasks.length; from += verifiedAtOnce) {
      signal.throwIfAborted();
      const found = await Promise.all(
        tasks.slice(from, from + verifiedAtOnce).map((task) => verifyOne(options, task, unreadable, signal)),
      );
      faults.push(...found.filter((fault) => fault !== null));
    }
  }
  return { faults, unreadable: [...unreadable].map(([anchor, message]) => ({ anchor, message })) };
}

async function verifyOne(
  { anchors, log }: AnchorOptions,
  task: AnchorTask,
  unreadable: Map<Anchor, string>,
  signal: AbortSignal,
): Promise<RootFault | null> {
  const anchor = anchors.find(({ kind, target }) => kind === task.kind && target === task.target);
  if (anchor === undefined || task.proof === null || unreadable.has(anchor)) return null;
  try {
    const fault = await anchor.verify(task.root, task.proof, signal);
    if (fault === null) return null;
    const message = `${task.root.date}: ${fault.message}`;
    return { log: task.root.log, index: Math.max(0, task.root.treeSize - 1), code: fault.code, message };
  } catch (error) {
    if (!(error instanceof DaybookError)) throw error;
    log.warn({ err: error, anchor: anchor.target }, 'anchored roots could not be looked at');
    unreadable.set(anchor, error.message);
    return null;
  }
}

/** How many anchors wait, and for how long the oldest required and best-effort ones do, in seconds. */
export async function readAnchorBacklog(
  database: Queryable,
): Promise<
  readonly { readonly kind: string; readonly mode: string; readonly waiting: number; readonly oldestSeconds: number }[]
> {
  const found = await database.query<{ kind: string; mode: string; waiting: number; oldestSeconds: number }>(
    `SELECT kind, mode, count(*)::int AS waiting,
            extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS "oldestSeconds"
     FROM public.anchors WHERE status = 'PENDING' GROUP BY kind, mode ORDER BY kind, mode`,
  );
  return found.rows;
}
