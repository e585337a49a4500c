import { callDaybook, type CallOptions } from './call-daybook.js';
import type { TypedDocumentString } from './generated.js';

/** What a page of a connection has to tell for the next one to be asked for. */
export interface ConnectionPage<Node> {
  readonly nodes: readonly Node[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor?: string | null };
}

/** Which list to read, and where in the answer it stands. */
export interface ReadPagesOptions<Result, Variables, Node> extends CallOptions {
  readonly document: TypedDocumentString<Result, Variables>;
  /** With the size of a page in `first`; `after` is set by this function. */
  readonly variables: Variables & { readonly last?: null | undefined; readonly before?: null | undefined };
  readonly connectionOf: (result: Result) => ConnectionPage<Node>;
}

/**
 * Yields a list's nodes page by page, as in `readPages({ ...options, document: AuditEntriesDocument, variables: { filter },
 * connectionOf: ({ auditEntries }) => auditEntries })`. A page that looked at its bounded part of the log and found less than
 * it was asked for, or nothing, is not the last one: the list ends where there is no next page. Yields no empty pages. Throws
 * what `callDaybook` throws, and an Error where the server names no place to go on from.
 */
export async function* readPages<Result, Variables extends { after?: string | null | undefined }, Node>(
  options: ReadPagesOptions<Result, Variables, Node>,
): AsyncGenerator<readonly Node[], void, undefined> {
  const { document, variables, connectionOf, ...call } = options;
  let after = variables.after ?? null;
  for (;;) {
    const { nodes, pageInfo } = connectionOf(await callDaybook(call, document, { ...variables, after }));
    if (nodes.length > 0) yield nodes;
    if (!pageInfo.hasNextPage) return;
    const { endCursor = null } = pageInfo;
    if (endCursor === null || endCursor === after) throw new Error('a page has a next one but no place to go on from');
    after = endCursor;
  }
}
