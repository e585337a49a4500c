import { pino, type Logger } from 'pino';
import { withoutSecrets } from './replace-secrets.js';

/** What PostgreSQL adds to an error that holds values of rows and statements. */
const withValues: ReadonlySet<string> = new Set([
  'detail',
  'hint',
  'where',
  'internalQuery',
  'query',
  'parameters',
  'values',
]);

/** The log itself, but that errors lose what of a caller's data the database put into them, and what looks like a secret. */
export function withLoggableErrors(log: Logger): Logger {
  return log.child({}, { serializers: { err: loggableError } });
}

function loggableError(error: unknown): unknown {
  if (typeof error === 'string') return withoutSecrets(error);
  if (typeof error !== 'object' || error === null) return error;
  const described = pino.stdSerializers.errWithCause(error as Error) as unknown as Record<string, unknown>;
  return loggable(described);
}

function loggable(described: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept = Object.entries(described).filter(([name]) => !withValues.has(name));
  return Object.fromEntries(kept.map(([name, value]) => [name, loggableValue(name, value)]));
}

function loggableValue(name: string, value: unknown): unknown {
  if (typeof value === 'string') return withoutSecrets(value);
  if (typeof value !== 'object' || value === null) return value;
  if (name === 'cause') return loggable(value as Record<string, unknown>);
  if (name === 'aggregateErrors' && Array.isArray(value)) return value.map(loggable);
  // Whatever else somebody hung on an error is not known to be free of what callers sent.
  return '[not logged]';
}
