export function serveGraphqlSocket(_options: object): AsyncDisposable {
  return { [Symbol.asyncDispose]: () => Promise.resolve() };
}
