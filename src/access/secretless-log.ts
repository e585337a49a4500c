import { pino, type Logger } from 'pino';
import { withoutSecrets } from './replace-secrets.js';
import { isSecretName } from './secret-members.js';
import { builtInShapes, type SecretShape } from './secret-shapes.js';

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

/** What stands deeper in the members of a line is not logged. */
const levelsMax = 6;

/**
 * The log itself, but that every line is without what looks like a secret: the message, members by name and by what they hold,
 * and errors, which also lose what of a caller's data the database put into them. `shapes`: those that are in force.
 */
export function secretlessLog(log: Logger, shapes: readonly SecretShape[] = builtInShapes): Logger {
  const lines = new SecretlessLines((text) => withoutSecrets(text, shapes));
  return log.child(
    {},
    {
      serializers: {
        err: (error: unknown) => lines.error(error),
        msg: (message: unknown) => (typeof message === 'string' ? lines.text(message) : message),
      },
      formatters: { log: (members) => lines.members(members) },
    },
  );
}

class SecretlessLines {
  constructor(readonly text: (text: string) => string) {}

  error(error: unknown): unknown {
    if (typeof error === 'string') return this.text(error);
    if (typeof error !== 'object' || error === null) return error;
    return this.#described(pino.stdSerializers.errWithCause(error as Error));
  }

  members(members: object): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(members).map(([name, value]: [string, unknown]) => [
        name,
        name === 'err' ? value : this.#member(name, value, 0),
      ]),
    );
  }

  #member(name: string, value: unknown, level: number): unknown {
    const isSecret = isSecretName(name) && (typeof value === 'string' || (typeof value === 'object' && value !== null));
    return isSecret ? '[redacted]' : this.#value(value, level);
  }

  #value(value: unknown, level: number): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (level === levelsMax) return '[not logged]';
    if (Array.isArray(value)) return value.map((item) => this.#value(item, level + 1));
    if ('stack' in value && 'message' in value) return this.error(value);
    if (Object.getPrototypeOf(value) === Date.prototype || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, member]: [string, unknown]) => [
        this.text(name),
        this.#member(name, member, level + 1),
      ]),
    );
  }

  #described(error: Readonly<Record<string, unknown>>): Record<string, unknown> {
    const kept = Object.entries(error).filter(([name]) => !withValues.has(name));
    return Object.fromEntries(kept.map(([name, value]) => [name, this.#ofError(name, value)]));
  }

  #ofError(name: string, value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (name === 'cause') return this.#described(value as Record<string, unknown>);
    if (name === 'aggregateErrors' && Array.isArray(value)) {
      return value.map((each: Record<string, unknown>) => this.#described(each));
    }
    // Whatever else somebody hung on an error is not known to be free of what callers sent.
    return '[not logged]';
  }
}
