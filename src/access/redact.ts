import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { GraphQLSchema } from 'graphql';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { RedactionWalk, storable } from './redaction-walk.js';
import { redactionRules, type RedactionRules } from './redaction-rules.js';
import { replaceSecrets, withoutSecrets } from './replace-secrets.js';
import { planRootInputs, redactInput, type RootInputs } from './sensitive-inputs.js';

export interface Redacted {
  readonly value: unknown;
  /** `rule path` of each redaction, as in `secret-name /input/password`. */
  readonly rules: readonly string[];
}

/** The arguments of a call. */
export interface RedactedArguments extends Redacted {
  /** What the operation is to work with: as it was given where it is marked `@sensitive`, else without secrets. */
  readonly passed: unknown;
}

export interface RedactorOptions {
  /** Those of every node where nothing is said. */
  readonly rules?: RedactionRules;
  /** Whose marks and types say how the arguments of root fields are redacted. */
  readonly schema?: GraphQLSchema;
}

/**
 * Replaces secrets by a keyed HMAC: the same secret gives the same mark, so equality can be checked without disclosure.
 * It cannot be switched off.
 */
export class Redactor {
  readonly rules: RedactionRules;
  readonly #key: KeyObject;
  readonly #inputs: RootInputs;

  /** `key`: 32 secret bytes, kept beside the database and never in it. */
  constructor(key: Buffer, options: RedactorOptions = {}) {
    this.#key = createSecretKey(key);
    this.rules = options.rules ?? redactionRules();
    this.#inputs = options.schema === undefined ? new Map() : planRootInputs(options.schema);
  }

  /** Redacts members with secret names and secret shapes in texts, and makes the rest representable in canonical JSON. */
  redact(value: unknown): Redacted {
    const walk = new RedactionWalk(this);
    return { value: walk.freeForm(value), rules: walk.rules };
  }

  /** Redacts what was coerced for the arguments of a root field, by the schema; those of anything else as free-form JSON. */
  redactArguments(resource: string, args: unknown): RedactedArguments {
    const plan = this.#inputs.get(resource);
    if (plan === undefined || args === undefined) return { ...this.redact(args), passed: args };
    const walk = new RedactionWalk(this);
    const { recorded, passed } = redactInput(walk, plan, args) ?? { recorded: args, passed: args };
    return { value: recorded, rules: walk.rules, passed };
  }

  /** The text without its secrets, as an entry can hold it. */
  redactText(text: string, onRule: (rule: string) => void = () => undefined): string {
    return storable(this.replace(text, onRule));
  }

  /** The text with its secrets replaced by their marks, otherwise as it was given. */
  replace(text: string, onRule: (rule: string) => void): string {
    return replaceSecrets(text, this.rules.shapes, (rule, secret) => {
      onRule(rule);
      return this.mark(secret);
    });
  }

  /** The text as anybody may see it: without its secrets, and without marks of them. */
  hide(text: string): string {
    return withoutSecrets(text, this.rules.shapes);
  }

  /** What stands in a secret's place. */
  mark(secret: string): string {
    return `[redacted ${createHmac('sha256', this.#key).update(secret).digest('hex').slice(0, 32)}]`;
  }

  /** The value itself where its JSON has at most `bytesMax` bytes, else its size and hash. */
  fit(value: unknown, bytesMax: number): unknown {
    const text = encodeCanonicalJson(value);
    const bytes = Buffer.byteLength(text);
    return bytes <= bytesMax ? value : { bytes, sha256: createHash('sha256').update(text).digest('hex') };
  }
}
