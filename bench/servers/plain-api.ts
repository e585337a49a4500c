import { createServer, type IncomingMessage } from 'node:http';
import pg from 'pg';
import type { NewSignal } from '../../src/ledger/new-entries.js';
import { businessSuffix, plainSchema } from '../plain-tables.js';
import { answerParent } from './answer-parent.js';
import { listen } from './listen.js';

export interface PlainApiOptions {
  readonly databaseUrl: string;
  readonly poolSize: number;
}

const owned = new AsyncDisposableStack();

const insertSignal = {
  name: 'insert_signal',
  text: `INSERT INTO ${plainSchema}.signals${businessSuffix} (signal_id, symbol, action, entry_price, target_price,
    stop_loss, confidence, strategy, rationale, producer, generated_at, server_timestamp, generation_latency_ms,
    retention_expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now(), now(), 0, now() + interval '7 years')
    RETURNING signal_id, chain_index, server_timestamp`,
};

/** The least that records a signal over HTTP: no checks, no key, no audit. The answer is its URL. */
async function start({ databaseUrl, poolSize }: PlainApiOptions): Promise<string> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize });
  owned.defer(() => pool.end());
  const server = createServer((request, response) => {
    readBody(request)
      .then(async (text) => {
        const { variables } = JSON.parse(text) as { variables: { input: NewSignal } };
        const { rows } = await pool.query({ ...insertSignal, values: valuesOf(variables.input) });
        const body = JSON.stringify({ data: { createSignal: { signal: rows[0] as unknown } } });
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
        response.end(body);
      })
      .catch((error: unknown) => {
        response.writeHead(500);
        response.end(String(error));
      });
  });
  return listen(server, owned);
}

function valuesOf(signal: NewSignal): unknown[] {
  const { signalId, symbol, action, entryPrice, targetPrice, stopLoss, confidence, strategy, rationale } = signal;
  const producer = 'research-desk';
  return [signalId, symbol, action, entryPrice, targetPrice, stopLoss, confidence, strategy, rationale, producer];
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

answerParent({ start }, owned);
