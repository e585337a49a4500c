import { randomUUID } from 'node:crypto';
import type { GraphQLSchema } from 'graphql';
import type pg from 'pg';
import type { Logger } from 'pino';
import { migrationsList } from '../migrations/index.js';
import { ApiKeyStore } from './access/api-key-store.js';
import { ensureAdminKey } from './access/ensure-admin-key.js';
import { readRedactionRules } from './access/read-redaction-rules.js';
import { secretlessLog } from './access/secretless-log.js';
import { RequestCalls, type Append, type CallSender } from './access/request-calls.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import type { ConfigSnapshotService } from './config-snapshots/config-snapshot-service.js';
import { migrateUp } from './db/migrate.js';
import type { MissingLayer } from './db/missing-layer.js';
import { openLogin, type Login } from './db/login.js';
import type { OpenDatabase } from './db/open-database.js';
import { ledgerConnection, openPool } from './db/pool.js';
import type { RoleUrls } from './db/roles.js';
import { readGenerator } from './generator.js';
import { installRefusalLayers } from './db/refusal-layers.js';
import { ExportSessions } from './exports/export-sessions.js';
import { createLoaders } from './graphql/loaders.js';
import type { RequestContext, Services } from './access/request-context.js';
import { checkReady, type HealthSources } from './health/check-health.js';
import { Metrics } from './http/metrics.js';
import { ensureBaseline } from './integrity/baseline.js';
import { compareBeforeMigrating } from './integrity/compare-before-migrating.js';
import { serviceOrigin } from './integrity/integrity-entry.js';
import type { JobRunner } from './jobs/job-runner.js';
import { LedgerWriter } from './ledger/append-entries.js';
import { AttemptReconciler } from './ledger/reconcile-attempts.js';
import { LogTail } from './ledger/tail-log.js';
import { openRecordedConfig } from './open-config-snapshots.js';
import { checkMetrics, openIntegrity, refusalReporter } from './open-integrity.js';
import { enqueueAnchoring, openJobs, startJobs } from './open-jobs.js';
import { openLedgerDatabase } from './open-ledger-database.js';
import { openPacks, packStoreOptions } from './open-packs.js';
import { describeProofs, openProofs, readProofFigures, type ProofNode, type ProofParts } from './open-proofs.js';
import { openTrace } from './open-trace.js';
import { applyRetention, openRetention } from './open-retention.js';
import { openRecordedRedactor } from './open-redactor.js';
import { openSecrets } from './open-secrets.js';
import { openSinks } from './open-sinks.js';
import { buildDaybookSchema } from './schema.js';

/** Everything a node consists of, built once. Disposing takes it down in reverse order; nothing accepted is lost. */
export interface NodeContext extends AsyncDisposable {
  readonly config: Config;
  readonly log: Logger;
  readonly schema: GraphQLSchema;
  readonly services: Services;
  readonly append: Append;
  readonly health: HealthSources;
  readonly metrics: Metrics;
  readonly exports: ExportSessions;
  /** The application's login at the database; where it changes, every connection of this node follows. */
  readonly login: Login;
  readonly contextFor: (sender: CallSender) => RequestContext;
  /** The first ADMIN key, when this start made one: to be shown once. */
  readonly madeAdminKey: { readonly secret: string; readonly file: string } | null;
  /** Ends the feeds, so that their subscribers go to another node; appends under way go on. */
  drain(): void;
}

/** Opens the database, migrates it, and builds the node on it. On an error everything opened is closed again. */
export async function openContext(config: Config, logger: Logger, signal?: AbortSignal): Promise<NodeContext> {
  await using stack = new AsyncDisposableStack();
  const rules = await readRedactionRules(config.redactionRulesFile);
  const log = secretlessLog(logger, rules.shapes);
  const shutdown = new AbortController();
  const clock = { nowMs: () => Date.now() };
  const database = stack.use(
    await openLedgerDatabase(config, { log, mode: 'serve', ...(signal === undefined ? {} : { signal }) }),
  );
  const { executedMigrations, missingLayers } = await prepareLedger(database, config, log);

  const ledger = await openLedger(openLogin(database), config, log, clock, stack);
  const { login, pool, writer, apiKeys, reconciler, signals, audit } = ledger;
  const schema = buildDaybookSchema();
  const metrics = buildMetrics(schema, ledger, () => ({ health, proofs }));
  const append = measuredAppend(writer, metrics);
  const redactor = await openRecordedRedactor({ config, schema, rules, database: pool, append });
  const configSnapshots = await openRecordedConfig({ config, pool, redactor, schema, append, log });
  const parts = { config, log, clock, pool, append, urls: { ...database.urls, application: login }, configSnapshots };
  const { jobs, ...evidence } = await openEvidence({ ...parts, apiKeys }, executedMigrations, metrics, stack);
  const { proofs } = evidence;
  const services: Services = {
    database: pool,
    tails: { signals, audit },
    apiKeys,
    redactor,
    clock,
    log,
    shutdown: shutdown.signal,
    ...evidence,
    proofs: proofs.services,
    configSnapshots,
    trace: openTrace(parts),
    sinks: await openSinks({ ...parts, writer, tail: audit, registry: metrics.registry }, stack),
  };
  const health: HealthSources = {
    database: pool,
    missingLayers,
    appendQueue: () => ({ waiting: writer.queuedRows, max: config.appendQueueMax }),
    feeds: () => ({ signals: stateOf(signals), audit: stateOf(audit) }),
    reconciler: () => ({ lastError: reconciler.lastError }),
    proofs: () => describeProofs(proofs),
    jobs: () => jobs?.state() ?? null,
    draining: () => shutdown.signal.aborted,
    log,
  };
  const { dataDir, adminKey: configuredKey } = config;
  const madeAdminKey = await ensureAdminKey({ database: pool, append, dataDir, configuredKey, log });

  const owned = stack.move();
  return {
    config,
    log,
    schema,
    services,
    append,
    health,
    metrics,
    exports: new ExportSessions(login),
    login,
    madeAdminKey,
    contextFor: (sender) => ({
      calls: new RequestCalls(sender, { append, redactor, clock }),
      services,
      loaders: createLoaders(pool),
    }),
    drain: () => shutdown.abort(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Names of the migrations it executed, before which it puts on record what somebody changed in the catalogue. */
async function prepareLedger(database: OpenDatabase, config: Config, log: Logger) {
  const { urls } = database;
  await compareBeforeMigrating({ urls, knownMigrations: migrationsList.map(({ name }) => name), log });
  const executedMigrations = await migrateUp({ url: urls.migrator, migrations: migrationsList, log });
  await applyRetention(urls, config);
  const missingLayers = mergeLayers(database.missingLayers, await installRefusalLayers(urls));
  return { executedMigrations, missingLayers };
}

/** What proves and watches the ledger, and the jobs that do so at their times; `stack` takes them over. */
async function openEvidence(
  parts: Omit<ProofParts, 'url' | 'onRefusal' | 'onSealed'> & {
    readonly urls: Omit<RoleUrls, 'application'> & { readonly application: Login };
    readonly configSnapshots: ConfigSnapshotService;
    readonly apiKeys: ApiKeyStore;
  },
  executedMigrations: readonly string[],
  metrics: Metrics,
  stack: AsyncDisposableStack,
) {
  const { config, log, pool, append, urls, configSnapshots } = parts;
  const knownMigrations = migrationsList.map(({ name }) => name);
  const reason = await ensureBaseline({ append, readerUrl: urls.auditor, knownMigrations, executedMigrations });
  if (reason !== null) log.info({ reason }, 'the integrity baseline was taken');
  const onRefusal = refusalReporter({ pool, append, log });
  let jobs: JobRunner | null = null;
  const onSealed = async () => (jobs === null ? undefined : enqueueAnchoring(jobs));
  const proofs = await openProofs({ ...parts, url: urls.application, onRefusal, onSealed }, stack);
  const integrity = openIntegrity({ ...parts, readerUrl: urls.auditor, proofs, metrics: checkMetrics(metrics) });
  const packParts = {
    ...parts,
    readerUrl: urls.auditor,
    proofs,
    snapshotConfig: (reason: string) =>
      configSnapshots.takeForPack({ reason, origin: serviceOrigin('packs', randomUUID()), append }),
    generator: readGenerator(),
  };
  const packs = await openPacks(packParts);
  const retention = openRetention({ ...parts, proofs });
  const { secrets, loginFollower } = await openSecrets({
    ...parts,
    login: urls.application,
    keys: proofs.services.keys,
  });
  stack.use(loginFollower).start();
  if (config.runsJobs) {
    const daily = { services: packs, store: packStoreOptions(packParts), keepDays: config.packs.retentionDays };
    jobs = stack.use(openJobs({ pool, append, log, proofs, integrity, daily, retention, secrets }, urls.application));
    await startJobs(jobs);
  }
  return { proofs, integrity, packs, retention, secrets, jobs };
}

/** `built`: what is built after the metrics, and there when they are scraped. */
function buildMetrics(
  schema: GraphQLSchema,
  { pool, writer, reconciler, signals, audit }: Awaited<ReturnType<typeof openLedger>>,
  built: () => { readonly health: HealthSources; readonly proofs: ProofNode },
): Metrics {
  return new Metrics(
    {
      appendQueueRows: () => writer.queuedRows,
      logHeads: () => ({ signals: Number(signals.head), audit: Number(audit.head) }),
      refusedModifications: () => reconciler.added,
      ready: async () => (await checkReady(built().health)).ready,
      proofs: () => readProofFigures(pool, built().proofs),
    },
    rootFieldsOf(schema),
  );
}

/** The parts that work on the ledger, all as the application role; `stack` takes them over. */
async function openLedger(login: Login, config: Config, log: Logger, clock: Clock, stack: AsyncDisposableStack) {
  const pool = createPool(login, config, log);
  stack.defer(() => pool.end());
  const writer = stack.use(new LedgerWriter({ url: login, queueRowsMax: config.appendQueueMax, log }));
  const apiKeys = stack.use(new ApiKeyStore(pool, clock, log));
  const reconciler = stack.use(new AttemptReconciler(pool, log));
  const onBroken = (error: Error) => log.error({ err: error }, 'the stored log contradicts itself: run daybook verify');
  const signals = stack.use(new LogTail({ url: login, logger: log, onBroken, log: 'signals' }));
  const audit = stack.use(new LogTail({ url: login, logger: log, onBroken, log: 'audit' }));
  await Promise.all([signals.start(), audit.start()]);
  return { login, pool, writer, apiKeys, reconciler, signals, audit };
}

function createPool(login: Login, config: Config, log: Logger): pg.Pool {
  const settings = {
    ...ledgerConnection(login, 'daybook api'),
    max: config.databasePoolSize,
    idleTimeoutMillis: 30_000,
    // A statement that outlives its caller's patience only takes the place of others.
    statement_timeout: 30_000,
  };
  return openPool(settings, (err) => log.warn({ err }, 'a connection to the database broke'));
}

/** The writer's append, its duration and what it recorded counted. */
function measuredAppend(writer: LedgerWriter, metrics: Metrics): Append {
  return async (request) => {
    const startedMs = performance.now();
    try {
      const result = await writer.append(request);
      metrics.appendSeconds.observe((performance.now() - startedMs) / 1000);
      for (const entry of request.callEntries ?? []) {
        if (entry.event === 'ApiCall') metrics.countCall(entry.resource, entry.outcome);
      }
      for (const signal of result.signals)
        metrics.generationLatency.observe(Math.max(0, Number(signal.generationLatencyMs) / 1000));
      return result;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'DATABASE_UNAVAILABLE')
        metrics.databaseErrors.inc();
      throw error;
    }
  };
}

function stateOf(tail: { readonly head: bigint; readonly broken: Error | null }) {
  return { head: tail.head.toString(), broken: tail.broken?.message ?? null };
}

/** Names of all fields of Query, Mutation and Subscription. */
function rootFieldsOf(schema: GraphQLSchema): string[] {
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  return roots.flatMap((root) => Object.keys(root?.getFields() ?? {}));
}

function mergeLayers(...lists: readonly (readonly MissingLayer[])[]): MissingLayer[] {
  const byName = new Map(lists.flat().map((layer) => [layer.name, layer]));
  return [...byName.values()];
}
