/** The GraphQL API over HTTP, as one key may use it. */
export class DaybookApi {
  /** `url`: of the service, as in http://127.0.0.1:4000. `key`: an API key's secret. */
  constructor(
    readonly url: string,
    readonly key: string,
    private readonly signal: AbortSignal,
  ) {}

  /** The `data` of one operation. Throws with the first error's code and message, which say how to mend it. */
  async call<Data>(document: string, variables: Readonly<Record<string, unknown>> = {}): Promise<Data> {
    const response = await fetch(new URL('/graphql', this.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${this.key}` },
      body: JSON.stringify({ query: document, variables }),
      signal: this.signal,
    });
    const answer = (await response.json()) as Answer<Data>;
    const [error] = answer.errors ?? [];
    if (error !== undefined) throw new Error(`${error.extensions?.code ?? response.status}: ${error.message}`);
    if (answer.data === undefined) throw new Error(`${this.url} does not answer as Daybook does`);
    return answer.data;
  }
}

interface Answer<Data> {
  readonly data?: Data;
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code: string } }[];
}
