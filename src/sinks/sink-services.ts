/** What the resolver uses; built by open-sinks.ts. */
export interface SinkServices {
  /** Numbers of the sinks that this node is configured for, whoever delivers them. */
  readonly configured: ReadonlySet<number>;
}

declare module '../access/request-context.js' {
  interface Services {
    readonly sinks: SinkServices;
  }
}
