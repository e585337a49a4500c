/** Headers of requests that can carry any text of one line. */
export const textHeaders = [
  'user-agent',
  'x-request-id',
  'x-session-id',
  'x-forwarded-for',
  'cookie',
  'referer',
  'origin',
  'authorization',
  'content-encoding',
  'x-api-key',
];

/** Addresses that carry a text, which is to be percent-encoded: in paths, queries and names, of GraphQL and REST. */
export const textPaths: readonly ((encoded: string) => string)[] = [
  (encoded) => `/graphql?query=%7Bviewer%7Bname%7D%7D&x=${encoded}`,
  (encoded) => `/graphql?query=${encoded}`,
  (encoded) => `/graphql?query=%7Bviewer%7Bname%7D%7D&operationName=${encoded}`,
  (encoded) => `/graphql/${encoded}`,
  (encoded) => `/${encoded}`,
  (encoded) => `/a/${encoded}/b?c=${encoded}`,
  (encoded) => `/a?${encoded}`,
  (encoded) => `/audit/logs?text=${encoded}`,
  (encoded) => `/audit/logs?userId=${encoded}&resource=${encoded}&action=${encoded}`,
  (encoded) => `/audit/logs?${encoded}=1`,
  (encoded) => `/audit/logs/${encoded}`,
  (encoded) => `/audit/stats?resource=${encoded}`,
  (encoded) => `/audit/export?format=csv&userId=${encoded}`,
  (encoded) => `/audit/export?format=json&resource=${encoded}`,
  (encoded) => `/audit/export?format=jsonl&sessionId=${encoded}`,
  (encoded) => `/audit/export?format=${encoded}`,
  (encoded) => `/packs/${encoded}`,
  (encoded) => `/logs/${encoded}/checkpoint`,
  (encoded) => `/logs/audit/proofs/${encoded}`,
  (encoded) => `/logs/audit/tile/entries/${encoded}`,
  (encoded) => `/health?x=${encoded}`,
  (encoded) => `/metrics?x=${encoded}`,
];
