import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { z } from 'zod';
import { DaybookError } from './errors.js';

/**
 * Everything the service takes from its environment: the only place that reads it. docs/configuration.md holds the same
 * table and a test compares the two. An empty value counts as absent.
 */
const port = z.coerce.number().int().min(1).max(65_535);

const environmentShape = {
  DAYBOOK_HOST: z
    .string()
    .refine((host) => isIP(host) !== 0 || /^[A-Za-z0-9.-]+$/.test(host), 'must be an IP address or a host name')
    .default('127.0.0.1'),
  DAYBOOK_PORT: port.default(4000),
  DAYBOOK_DATA_DIR: z.string().default('./var'),
  // Below the range from which systems take the ports of outgoing connections.
  DAYBOOK_POSTGRES_PORT: port.default(15_432),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must start with postgres:// or postgresql://')
    .optional(),
  DAYBOOK_ORIGIN: z
    .string()
    .regex(
      /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(\/[a-z0-9.-]+)*$/,
      'must be a host name with optional path, as in daybook.example',
    )
    .default('daybook.local'),
  DAYBOOK_ADMIN_KEY: z.string().min(16, 'must have at least 16 characters').optional(),
  DAYBOOK_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  DAYBOOK_DATABASE_POOL: z.coerce.number().int().min(2).max(100).default(8),
  DAYBOOK_APPEND_QUEUE_MAX: z.coerce.number().int().min(1).max(1_000_000).default(20_000),
  DAYBOOK_TRUST_PROXY: z.coerce.number().int().min(0).max(10).default(0),
} as const;

const environmentSchema = z.object(environmentShape);

/** Names of every environment variable the service reads, in documentation order. */
export const environmentNames = Object.keys(environmentShape) as (keyof typeof environmentShape)[];

/** The validated settings. Paths are absolute; ports are TCP ports. */
export interface Config {
  /** Address the HTTP server listens on. */
  readonly host: string;
  readonly port: number;
  /** Folder of everything this node keeps: the embedded database, keys, credentials. */
  readonly dataDir: string;
  /** Port of the embedded PostgreSQL on 127.0.0.1; unused with `databaseUrl`. */
  readonly postgresPort: number;
  /** An existing PostgreSQL ≥ 15 instead of the embedded one. */
  readonly databaseUrl: string | undefined;
  /** First part of each log's origin, as in `daybook.local/signals`. */
  readonly origin: string;
  /** The first ADMIN key's secret; made on first start when absent. */
  readonly adminKey: string | undefined;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** Connections that serve queries; appends use one more, feeds two more. */
  readonly databasePoolSize: number;
  /** Entries that may wait for their transaction before callers get QUEUE_FULL. */
  readonly appendQueueMax: number;
  /** Number of reverse proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: number;
}

/** Reads and checks the environment. Throws CONFIG_INVALID naming each bad variable and what it allows. */
export function readConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const present = Object.fromEntries(
    environmentNames.filter((name) => environment[name]).map((name) => [name, environment[name]]),
  );
  const parsed = environmentSchema.safeParse(present);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${String(issue.path[0])}: ${issue.message}`);
    throw new DaybookError(
      'CONFIG_INVALID',
      `The environment has unusable values (docs/configuration.md lists what is allowed):\n${lines.join('\n')}`,
    );
  }
  const values = parsed.data;
  return {
    host: values.DAYBOOK_HOST,
    port: values.DAYBOOK_PORT,
    dataDir: resolve(values.DAYBOOK_DATA_DIR),
    postgresPort: values.DAYBOOK_POSTGRES_PORT,
    databaseUrl: values.DATABASE_URL,
    origin: values.DAYBOOK_ORIGIN,
    adminKey: values.DAYBOOK_ADMIN_KEY,
    logLevel: values.DAYBOOK_LOG_LEVEL,
    databasePoolSize: values.DAYBOOK_DATABASE_POOL,
    appendQueueMax: values.DAYBOOK_APPEND_QUEUE_MAX,
    trustedProxies: values.DAYBOOK_TRUST_PROXY,
  };
}
