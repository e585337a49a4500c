import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { encodeCanonicalJson } from '../../core/canonical-json.js';
import { DaybookError } from '../../errors.js';
import { callTarget, isSuccess, parseTargetUrl, type TargetAnswer } from './call-target.js';

/** Members of a registration that the provider sets: RFC 7592 §2.2 keeps them out of updates, or leaves them to it. */
const providerMembers = new Set([
  'client_id_issued_at',
  'client_secret',
  'client_secret_expires_at',
  'registration_access_token',
  'registration_client_uri',
]);
/** Errors of RFC 6749 §5.2: what of an answer may be repeated. */
const knownErrors = new Set([
  'invalid_client',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'unauthorized_client',
  'unsupported_grant_type',
]);
const authMethods = ['client_secret_basic', 'client_secret_post'] as const;

const settingsForm = z.strictObject({
  clientId: z.string().min(1).max(500),
  registrationUrl: z.string(),
  // Not called by its own name: what is called a token is redacted.
  grantUrl: z.string().optional(),
  issuer: z.string().optional(),
  scope: z.string().max(1_000).optional(),
});

/** How a client shows its secret at the token endpoint; goes into the facts of each version. */
export interface ClientUse {
  readonly authMethod: (typeof authMethods)[number];
  readonly grantTypes: readonly string[];
  readonly redirectUri: string | null;
}

/** A client as its provider has registered it. */
export interface ClientRegistration {
  /** What the client chose, as an update sends it back. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** SHA-256 of `metadata`, hex. */
  readonly fingerprint: string;
  readonly use: ClientUse;
  /** Null where the provider does not say it. */
  readonly clientSecret: string | null;
  readonly accessToken: string | null;
}

/** Whether a client secret lets the client in; `why` where nobody can tell. */
export interface SecretTrial {
  readonly outcome: 'WORKS' | 'REFUSED' | 'UNKNOWN';
  readonly why: string;
}

/** One client at its OAuth provider: its registration by RFC 7592, and the token endpoint. */
export class OauthClient {
  readonly #settings: z.infer<typeof settingsForm>;
  readonly #registrationUrl: URL;
  readonly #timeoutMs: number;

  /** Throws BAD_USER_INPUT for settings that are not what docs/rotation.md says. */
  constructor(settings: Readonly<Record<string, unknown>>, timeoutMs: number) {
    const parsed = settingsForm.safeParse(settings);
    if (!parsed.success) {
      throw new DaybookError(
        'BAD_USER_INPUT',
        'settings of OAUTH: clientId, registrationUrl, and grantUrl or issuer; scope where tokens need one',
      );
    }
    const { registrationUrl, grantUrl, issuer } = parsed.data;
    if ((grantUrl === undefined) === (issuer === undefined)) {
      throw new DaybookError(
        'BAD_USER_INPUT',
        'settings of OAUTH: either grantUrl, the token endpoint, or issuer, which names it',
      );
    }
    for (const [name, text] of Object.entries({ grantUrl, issuer })) {
      if (text !== undefined) parseTargetUrl(text, name);
    }
    this.#settings = parsed.data;
    this.#registrationUrl = parseTargetUrl(registrationUrl, 'registrationUrl');
    this.#timeoutMs = timeoutMs;
  }

  /** The read request of RFC 7592 §2.1. The registration is null unless the provider gave that of this client. */
  async read(accessToken: string): Promise<{ status: number; registration: ClientRegistration | null }> {
    return this.#registrationOf(await this.#manage('GET', accessToken, null));
  }

  /** The update request of RFC 7592 §2.2, without the secret: the provider may make a new one, and a new access token. */
  async update(
    accessToken: string,
    metadata: ClientRegistration['metadata'],
  ): Promise<{ status: number; registration: ClientRegistration | null }> {
    return this.#registrationOf(await this.#manage('PUT', accessToken, JSON.stringify(metadata)));
  }

  /**
   * Shows a secret at the token endpoint as the client does. A client that gets tokens in its own name asks for one; of another,
   * a grant that nobody has is refused as a grant where the client is known, and a wrong secret must be refused as a client.
   */
  async trySecret(secret: string, use: ClientUse): Promise<SecretTrial> {
    const { scope } = this.#settings;
    if (use.grantTypes.includes('client_credentials')) {
      const grant = { grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) };
      return judge(await this.#askForToken(secret, use, grant));
    }
    const nobodys = randomBytes(24).toString('base64url');
    const grant: Record<string, string> = use.grantTypes.includes('authorization_code')
      ? { grant_type: 'authorization_code', code: nobodys, redirect_uri: use.redirectUri ?? '' }
      : { grant_type: 'refresh_token', refresh_token: nobodys };
    const answer = await this.#askForToken(secret, use, grant);
    if (answer.json.error !== 'invalid_grant') return { ...judge(answer), outcome: outcomeOfError(answer) };
    const control = await this.#askForToken(nobodys, use, grant);
    if (control.json.error === 'invalid_client') return { outcome: 'WORKS', why: '' };
    return { outcome: 'UNKNOWN', why: 'the token endpoint does not look at client secrets before it looks at grants' };
  }

  async #manage(method: 'GET' | 'PUT', accessToken: string, body: string | null): Promise<TargetAnswer> {
    const headers = { accept: 'application/json', authorization: `Bearer ${accessToken}` };
    const typed = body === null ? headers : { ...headers, 'content-type': 'application/json' };
    return callTarget({ url: this.#registrationUrl, method, headers: typed, body, timeoutMs: this.#timeoutMs });
  }

  #registrationOf({ status, json }: TargetAnswer): { status: number; registration: ClientRegistration | null } {
    if (status !== 200 || json.client_id !== this.#settings.clientId) return { status, registration: null };
    const metadata = Object.fromEntries(Object.entries(json).filter(([name]) => !providerMembers.has(name)));
    const fingerprint = createHash('sha256').update(encodeCanonicalJson(metadata)).digest('hex');
    const { client_secret: clientSecret, registration_access_token: accessToken } = json;
    return {
      status,
      registration: {
        metadata,
        fingerprint,
        use: useOf(metadata),
        clientSecret: typeof clientSecret === 'string' ? clientSecret : null,
        accessToken: typeof accessToken === 'string' ? accessToken : null,
      },
    };
  }

  async #askForToken(secret: string, { authMethod }: ClientUse, grant: Record<string, string>): Promise<TargetAnswer> {
    const { clientId } = this.#settings;
    const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
    const isBasic = authMethod === 'client_secret_basic';
    const credentials = Buffer.from(`${encodeForm(clientId)}:${encodeForm(secret)}`).toString('base64');
    const body = new URLSearchParams(isBasic ? grant : { ...grant, client_id: clientId, client_secret: secret });
    return callTarget({
      url: await this.#tokenEndpoint(),
      method: 'POST',
      headers: isBasic ? { ...headers, authorization: `Basic ${credentials}` } : headers,
      body: body.toString(),
      timeoutMs: this.#timeoutMs,
    });
  }

  /** From the settings, or as OpenID Connect Discovery names it. */
  async #tokenEndpoint(): Promise<URL> {
    const { grantUrl, issuer = '' } = this.#settings;
    if (grantUrl !== undefined) return parseTargetUrl(grantUrl, 'grantUrl');
    const url = parseTargetUrl(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, 'issuer');
    const { status, json } = await callTarget({
      url,
      method: 'GET',
      headers: { accept: 'application/json' },
      body: null,
      timeoutMs: this.#timeoutMs,
    });
    if (!isSuccess(status) || json.issuer !== issuer || typeof json.token_endpoint !== 'string') {
      throw new DaybookError('SECRET_UNAVAILABLE', `${url.origin} does not say where the issuer gives tokens`);
    }
    return parseTargetUrl(json.token_endpoint, 'the token endpoint of the issuer');
  }
}

/** Throws BAD_USER_INPUT where the client has no secret that it shows itself. */
function useOf(metadata: Readonly<Record<string, unknown>>): ClientUse {
  // RFC 7591 §2: what is left out is this.
  const named = metadata.token_endpoint_auth_method ?? 'client_secret_basic';
  const authMethod = authMethods.find((each) => each === named);
  if (authMethod === undefined) {
    throw new DaybookError('BAD_USER_INPUT', `the client must log in with one of ${authMethods.join(', ')}`);
  }
  const { grant_types: grantTypes = ['authorization_code'], redirect_uris: redirectUris } = metadata;
  const [redirectUri] = Array.isArray(redirectUris) ? (redirectUris as unknown[]) : [];
  return {
    authMethod,
    grantTypes: Array.isArray(grantTypes) ? grantTypes.filter((each) => typeof each === 'string') : [],
    redirectUri: typeof redirectUri === 'string' ? redirectUri : null,
  };
}

function judge(answer: TargetAnswer): SecretTrial {
  const { status, json } = answer;
  if (isSuccess(status) && typeof json.access_token === 'string') return { outcome: 'WORKS', why: '' };
  const error = typeof json.error === 'string' && knownErrors.has(json.error) ? ` ${json.error}` : '';
  return { outcome: outcomeOfError(answer), why: `the token endpoint answers ${status}${error}` };
}

function outcomeOfError({ json }: TargetAnswer): 'REFUSED' | 'UNKNOWN' {
  return json.error === 'invalid_client' ? 'REFUSED' : 'UNKNOWN';
}

/** RFC 6749 §2.3.1: user name and password of the Basic scheme are form-encoded first. */
function encodeForm(text: string): string {
  return new URLSearchParams({ text }).toString().slice('text='.length);
}
