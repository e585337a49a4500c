import { createServer } from 'node:http';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { answerParent } from './answer-parent.js';
import { listen } from './listen.js';

export interface PostgraphileOptions {
  readonly databaseUrl: string;
  /** Connections that serve queries. */
  readonly poolSize: number;
}

const owned = new AsyncDisposableStack();

/** PostGraphile with its default preset over the ledger's own tables, nothing else switched on; the answer is its URL. */
async function start({ databaseUrl, poolSize }: PostgraphileOptions): Promise<string> {
  const service = makePgService({ connectionString: databaseUrl, schemas: ['public'], poolConfig: { max: poolSize } });
  const instance = postgraphile({
    extends: [PostGraphileAmberPreset],
    pgServices: [service],
    grafserv: { graphqlPath: '/graphql', graphiql: false, watch: false, websockets: false },
    grafast: { explain: false },
  });
  owned.defer(async () => {
    await instance.release();
  });
  const server = createServer();
  await instance.createServ(grafserv).addTo(server);
  return `${await listen(server, owned)}/graphql`;
}

answerParent({ start }, owned);
