import { Router, type Request, type RequestHandler, type Response } from 'express';
import { anyRole, auditReaders } from '../access/audited.js';
import type { Role } from '../access/principal.js';
import { repeatable } from '../access/repeatable.js';
import { encodeUtf8 } from '../core/bytes.js';
import { normalizeTimestamp } from '../core/timestamp.js';
import { parseTilePath } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { acceptCheckpoints } from '../proofs/accept-checkpoints.js';
import { proveInclusion } from '../proofs/prove.js';
import type { ProofServices } from '../proofs/proof-services.js';
import { readNewestCheckpoint } from '../proofs/read-checkpoints.js';
import { readMerkleRoot, readRootEvidence } from '../proofs/read-merkle-roots.js';
import { entriesNeeded, readEntryBundle, readHashTile } from '../proofs/static-layout.js';
import { parseIndex, parseSize } from '../proofs/tree-size.js';
import { recordedRoute, type RestServices } from './rest-calls.js';

/** What never changes may be kept by whoever fetched it; entries only by the one who may see them. */
const immutable = 'public, max-age=31536000, immutable';
const immutablePrivate = 'private, max-age=31536000, immutable';

export interface LogRouteSources {
  readonly database: Queryable;
  readonly proofs: ProofServices;
  readonly rest: RestServices;
}

/**
 * `/logs/<log>/…`: the static layout (C2SP tlog-tiles) straight from the database. Checkpoints, days' roots and hash tiles
 * are open; entry bundles and proofs take a key and leave an entry.
 */
export function logRoutes(sources: LogRouteSources): Router {
  const router = Router({ caseSensitive: true, strict: true });
  router.get('/logs/:log/checkpoint', newestCheckpoint(sources));
  router.get('/logs/:log/tile/*path', async (request, response, next) => {
    const { path } = request.params as unknown as { path: string[] };
    const tile = parseTilePath(`tile/${path.join('/')}`);
    if (tile === null) throw nothingAt(request.path);
    if (tile.kind === 'entries') return next();
    await assertSigned(sources.database, logOf(request.params.log), tile, request.path);
    sendBytes(response, await readHashTile(sources.database, logOf(request.params.log), tile), immutable);
  });
  router.get('/logs/:log/tile/entries/*path', entryBundles(sources));
  router.get('/logs/:log/proofs/:file', tlogProofs(sources));
  router.get('/logs/:log/roots/:file', rootFiles(sources));
  return router;
}

/** Serves nothing but what the log's own keys signed, whatever the table holds. */
function newestCheckpoint({ database, proofs: { keys } }: LogRouteSources): RequestHandler {
  const accept = acceptCheckpoints(keys);
  return async (request, response) => {
    const newest = await readNewestCheckpoint(database, logOf(request.params.log));
    if (newest === null) throw new DaybookError('NOT_YET_SIGNED', 'no checkpoint was signed yet: retry shortly');
    await accept(newest);
    sendText(response, newest.note, 'no-cache');
  };
}

function entryBundles({ database, rest }: LogRouteSources): RequestHandler {
  return recordedRoute(rest, rolesOf, async (request, response) => {
    const { log, path } = request.params as unknown as { log: string; path: string[] };
    const tile = parseTilePath(`tile/entries/${path.join('/')}`);
    if (tile === null) throw nothingAt(request.path);
    await assertSigned(database, logOf(log), tile, request.path);
    sendBytes(response, await readEntryBundle(database, logOf(log), tile), immutablePrivate);
  });
}

/** `/logs/<log>/proofs/<index>.tlog-proof[?treeSize=<size>]`. */
function tlogProofs({ database, proofs, rest }: LogRouteSources): RequestHandler {
  return recordedRoute(rest, rolesOf, async (request, response) => {
    const { log, file } = request.params as { log: string; file: string };
    const [, index] = /^(\d{1,16})\.tlog-proof$/.exec(file) ?? [];
    if (index === undefined) throw nothingAt(request.path);
    const { treeSize } = request.query;
    const size = typeof treeSize === 'string' ? parseSize('treeSize', treeSize) : null;
    const proof = await proveInclusion(
      { database, signer: proofs.signer, nodes: proofs.nodes },
      logOf(log),
      parseIndex(index),
      size,
    );
    response.setHeader('Content-Disposition', `attachment; filename="${log}-${index}.tlog-proof"`);
    sendText(response, proof.tlogProof, 'no-cache');
  });
}

/** `/logs/<log>/roots/<date>.checkpoint`, `.tsr` (RFC 3161 response) and `.witnessed` (the note with cosignatures). */
function rootFiles({ database }: LogRouteSources): RequestHandler {
  return async (request, response) => {
    const { log, file } = request.params as { log: string; file: string };
    const [, date, form] = /^(\d{4}-\d\d-\d\d)\.(checkpoint|tsr|witnessed)$/.exec(file) ?? [];
    const isDay = date !== undefined && normalizeTimestamp(`${date}T00:00:00Z`) !== null;
    const root = isDay ? await readMerkleRoot(database, logOf(log), date) : null;
    if (root === null) throw nothingAt(request.path);
    if (form === 'checkpoint') return sendText(response, root.checkpoint, 'no-cache');
    const evidence = await readRootEvidence(database, root, form === 'tsr' ? 'timestamp' : 'witness');
    if (evidence.length === 0) throw nothingAt(request.path);
    if (form === 'tsr') return sendBytes(response, evidence[0] ?? new Uint8Array(), 'no-cache');
    sendText(response, root.checkpoint + evidence.map((line) => Buffer.from(line).toString()).join(''), 'no-cache');
  };
}

/** By the log that is answered from, never by the path's spelling, which routing reads more loosely. */
function rolesOf(request: Request): readonly Role[] {
  return logOf(request.params.log) === 'audit' ? auditReaders : anyRole;
}

/** A tile exists for readers once a checkpoint covers it. */
async function assertSigned(
  database: Queryable,
  log: LogName,
  tile: { readonly level: number; readonly index: number; readonly width: number },
  path: string,
): Promise<void> {
  const newest = await readNewestCheckpoint(database, log);
  if (entriesNeeded(tile) > Number(newest?.treeSize ?? 0)) throw nothingAt(path);
}

function logOf(name: string | string[] | undefined): LogName {
  const log = logNames.find((known) => known === name);
  if (log === undefined) throw new DaybookError('NOT_FOUND', `the logs are ${logNames.join(' and ')}`);
  return log;
}

function nothingAt(path: string): DaybookError {
  return new DaybookError(
    'NOT_FOUND',
    `there is nothing at ${repeatable(path, 200)} (yet): docs/verification.md has the layout`,
  );
}

function sendText(response: Response, text: string, caching: string): void {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Cache-Control', caching);
  response.send(Buffer.from(encodeUtf8(text)));
}

function sendBytes(response: Response, bytes: Uint8Array, caching: string): void {
  response.setHeader('Content-Type', 'application/octet-stream');
  response.setHeader('Cache-Control', caching);
  response.send(Buffer.from(bytes));
}
