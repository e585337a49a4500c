import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
// @ts-expect-error: it comes without types.
import Provider from 'oidc-provider';
// @ts-expect-error: it comes without types.
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js';
import { findFreePort } from './test-server.js';

/** A client as RFC 7591 registers it. */
export interface RegisteredClient {
  readonly client_id: string;
  readonly client_secret: string;
  readonly registration_client_uri: string;
  readonly registration_access_token: string;
}

/** A real OpenID provider on loopback, with registration (RFC 7591) and its management (RFC 7592). */
export interface OpenidProvider extends AsyncDisposable {
  readonly issuer: string;
  readonly tokenUrl: string;
  /** Requests it got, as `METHOD path`. */
  readonly requests: string[];
  register(metadata?: object): Promise<RegisteredClient>;
  /** What an administrator does at the provider. */
  changeSecret(clientId: string): Promise<{ secret: string; accessToken: string }>;
  /** Whether a client gets a token with a secret, as its users ask for one. */
  lets(clientId: string, secret: string): Promise<boolean>;
}

export async function startOpenidProvider(options: {
  /** Whether an update of a registration makes a new client secret. As it comes, this provider makes none. */
  readonly renewsSecret: boolean;
  /** Whether it makes a new registration access token, and the one before opens nothing any more. */
  readonly rotatesAccessToken: boolean;
}): Promise<OpenidProvider> {
  const port = await findFreePort();
  const issuer = `http://127.0.0.1:${port}`;
  const renew = (ctx: { method: string }, properties: Record<string, unknown>) => {
    if (ctx.method === 'PUT' && options.renewsSecret) properties.client_secret = newSecret();
  };
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    adapter: createMemoryAdapter(),
    jwks: { keys: [privateKey.export({ format: 'jwk' })] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      // Short, so that none of its parts looks like a key, which registerSecret would redact.
      registration: {
        enabled: true,
        idFactory: () => `client-${randomBytes(4).toString('hex')}`,
        initialAccessToken: true,
        policies: { renew },
      },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: options.rotatesAccessToken },
    },
    ttl: { ClientCredentials: 60 },
  });
  const requests: string[] = [];
  const answer = provider.callback();
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    answer(request, response);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    issuer,
    tokenUrl: `${issuer}/token`,
    requests,
    register: async (metadata = {}) => {
      const token = await new provider.InitialAccessToken({ policies: ['renew'] }).save();
      const body = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [], ...metadata };
      const response = await fetch(`${issuer}/reg`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      });
      return (await response.json()) as RegisteredClient;
    },
    changeSecret: async (clientId) => {
      const stored = await provider.Client.adapter.find(clientId);
      const secret = newSecret();
      await provider.Client.adapter.upsert(clientId, { ...stored, client_secret: secret });
      const accessToken = await new provider.RegistrationAccessToken({ clientId, policies: ['renew'] }).save();
      return { secret, accessToken };
    },
    lets: async (clientId, secret) => {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials' }),
      });
      return response.status === 200;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function newSecret(): string {
  return randomBytes(32).toString('base64url');
}
