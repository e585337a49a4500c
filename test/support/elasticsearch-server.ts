import type { ServerResponse } from 'node:http';
import { startHttpReceiver, type HttpReceiver, type ReceivedRequest } from './http-receiver.js';

/** What the server does with one document; null: takes it, or answers 409 where its id is there already. */
type ItemFault = (document: Record<string, unknown>, id: string) => { status: number; type: string } | null;

/** The part of Elasticsearch's `_bulk` that a sink uses: `create` by id, an answer for each item. */
export interface ElasticsearchServer extends HttpReceiver {
  /** Documents by id, in the order in which they were created. */
  readonly documents: Map<string, Record<string, any>>;
  /** Items answered with 409. */
  conflicts(): number;
  refuse(fault: ItemFault): void;
  /** Answers a bulk as it should: documents first, answer after. */
  answerBulk(request: ReceivedRequest, response: ServerResponse): void;
}

export async function startElasticsearch(): Promise<ElasticsearchServer> {
  const receiver = await startHttpReceiver();
  const documents = new Map<string, Record<string, unknown>>();
  let conflicts = 0;
  let fault: ItemFault = () => null;
  const answerBulk = (request: ReceivedRequest, response: ServerResponse) => {
    const lines = request.body.split('\n');
    if (lines.pop() !== '') return void response.writeHead(400).end('{"error":"the bulk must end in a line break"}');
    const items: object[] = [];
    for (let place = 0; place < lines.length; place += 2) {
      const { create } = JSON.parse(lines[place] ?? '') as { create: { _id: string } };
      const document = JSON.parse(lines[place + 1] ?? '') as Record<string, unknown>;
      const refused = fault(document, create._id);
      const status = refused?.status ?? (documents.has(create._id) ? 409 : 201);
      if (status === 409) conflicts += 1;
      if (status === 201) documents.set(create._id, document);
      const error =
        status < 300 ? {} : { error: { type: refused?.type ?? 'version_conflict_engine_exception', reason: 'x' } };
      items.push({ create: { _id: create._id, status, ...error } });
    }
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ took: 1, errors: true, items }));
  };
  receiver.respond(answerBulk);
  return {
    ...receiver,
    documents,
    conflicts: () => conflicts,
    refuse: (next) => {
      fault = next;
    },
    answerBulk,
  };
}
