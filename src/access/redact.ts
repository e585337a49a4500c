import { createHash, createHmac } from 'node:crypto';
import { encodeCanonicalJson, nestingLevelsMax } from '../core/canonical-json.js';

/** Member names whose values are secrets, wherever they occur in free-form JSON. */
const secretName =
  /pass(word|wd|phrase)|secret|token|api[-_]?key|authorization|credential|private[-_]?key|cookie|^pin$|^cvv$|^otp$/i;

/** Names of configurations whose old and new values are secrets. */
const secretConfiguration = /pass(word|wd|phrase)|secret|token|key|credential/i;

/** Shapes of secrets inside texts, each under the name by which the entry says what was redacted. */
const secretShapes: readonly (readonly [rule: string, shape: RegExp])[] = [
  ['pem-private-key', /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g],
  ['authorization', /\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi],
  ['daybook-key', /\bdaybook_[A-Za-z0-9_-]{16,}/g],
  ['jwt', /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g],
  ['aws-access-key', /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g],
  ['vendor-key', /\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|xox[abprs]|glpat)[-_][A-Za-z0-9_-]{16,}/g],
  ['url-credentials', /(?<=:\/\/)[^\s/:@]*:[^\s/@]+(?=@)/g],
  ['assignment', /(?<=\b(?:password|passwd|pwd|secret|token|api[-_]?key)["']?\s*[=:]\s*["']?)[^\s"'&,;]{4,}/gi],
  ['card-number', /\b\d(?:[ -]?\d){12,18}\b/g],
];

export interface Redacted {
  readonly value: unknown;
  /** `rule path` of each redaction, as in `secret-name /input/password`. */
  readonly rules: readonly string[];
}

/**
 * Replaces secrets by a keyed HMAC: the same secret gives the same mark, so equality can be checked without disclosure.
 * It cannot be switched off.
 */
export class Redactor {
  readonly #key: Buffer;

  /** `key`: 32 secret bytes, kept beside the database and never in it. */
  constructor(key: Buffer) {
    this.#key = key;
  }

  /** Redacts members with secret names and secret shapes in texts, and makes the rest representable in canonical JSON. */
  redact(value: unknown): Redacted {
    const rules: string[] = [];
    return { value: this.#walk(value, '', rules, 0), rules };
  }

  redactText(text: string, onRule: (rule: string) => void = () => undefined): string {
    let redacted = text.toWellFormed().replaceAll('\0', '\uFFFD');
    for (const [rule, shape] of secretShapes) {
      redacted = redacted.replace(shape, (secret) => {
        if (rule === 'card-number' && !passesLuhn(secret)) return secret;
        onRule(rule);
        return this.mark(secret);
      });
    }
    return redacted;
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

  #walk(value: unknown, path: string, rules: string[], level: number): unknown {
    if (level > nestingLevelsMax - 4) return '[nested too deeply to be recorded]';
    if (typeof value === 'string') return this.redactText(value, (rule) => rules.push(`${rule} ${path}`));
    if (typeof value === 'number') return Number.isSafeInteger(value) ? value : String(value);
    if (value === null || value === undefined || typeof value === 'boolean') return value ?? null;
    if (Array.isArray(value)) return value.map((item, place) => this.#walk(item, `${path}/${place}`, rules, level + 1));
    if (typeof value !== 'object') return `[${typeof value}]`;
    const names = namesSecretConfiguration(value) ? configurationValues : noNames;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, member]) => member !== undefined)
        .map(([name, member]) => [
          name.toWellFormed().replaceAll('\0', '\uFFFD'),
          names.has(name) && typeof member === 'string'
            ? this.#marked('secret-config', member, `${path}/${name}`, rules)
            : this.#member(name, member, `${path}/${name}`, rules, level),
        ]),
    );
  }

  #member(name: string, member: unknown, path: string, rules: string[], level: number): unknown {
    if (!secretName.test(name) || member === null || name === 'idempotencyKey') {
      return this.#walk(member, path, rules, level + 1);
    }
    return this.#marked('secret-name', typeof member === 'string' ? member : JSON.stringify(member), path, rules);
  }

  #marked(rule: string, secret: string, path: string, rules: string[]): string {
    rules.push(`${rule} ${path}`);
    return this.mark(secret);
  }
}

const configurationValues: ReadonlySet<string> = new Set(['oldValue', 'newValue']);
const noNames: ReadonlySet<string> = new Set();

/** True for a change of a configuration that by its type or file holds secrets. */
function namesSecretConfiguration(value: object): boolean {
  const { configType, filePath } = value as { configType?: unknown; filePath?: unknown };
  const names = [configType, filePath].filter((name) => typeof name === 'string');
  return typeof configType === 'string' && secretConfiguration.test(names.join(' '));
}

function passesLuhn(text: string): boolean {
  const digits = [...text.replaceAll(/\D/g, '')].map(Number).reverse();
  const sum = digits.reduce((total, digit, place) => {
    const doubled = place % 2 === 1 ? digit * 2 : digit;
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}
