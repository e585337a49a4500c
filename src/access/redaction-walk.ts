import { findCardNumbers } from './card-number.js';
import { isSecretPair, ruleForMember } from './secret-members.js';
import { nestingLevelsMax } from '../core/canonical-json.js';

/** Longer texts never enter an entry, whose body has at most 65,535 bytes: they are not searched. */
export const textCharactersMax = 65_536;
/** What a value is wrapped in when it is recorded. */
const wrappingLevels = 4;
const levelsMax = nestingLevelsMax - wrappingLevels;
const pathCharactersMax = 200;

/** Finds and marks secrets: the redactor, as the walks through values see it. */
export interface SecretFinder {
  /** The text with its secrets replaced by their marks. */
  replace(text: string, onRule: (rule: string) => void): string;
  mark(secret: string): string;
}

/** One walk through a value: where it is, and what it has redacted. */
export class RedactionWalk {
  readonly rules: string[] = [];
  readonly #path: string[] = [];

  constructor(readonly secrets: SecretFinder) {}

  /** Looks into a member or an item, which lies at `name` of where the walk is. */
  at<Result>(name: string, look: () => Result): Result {
    this.#path.push(name);
    const result = look();
    this.#path.pop();
    return result;
  }

  get isTooDeep(): boolean {
    return this.#path.length > levelsMax;
  }

  /** Notes that a rule redacted something here. */
  note(rule: string): void {
    const path = this.#path.map((name) => `/${name}`).join('');
    this.rules.push(`${rule} ${path.length > pathCharactersMax ? `${path.slice(0, pathCharactersMax)}…` : path}`);
  }

  /** The mark of a value that a rule redacts here as a whole. */
  marked(rule: string, value: unknown): string {
    this.note(rule);
    return this.secrets.mark(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
  }

  /** A text with its secrets replaced, otherwise as it was given. */
  replaced(text: string): string {
    return text.length > textCharactersMax ? text : this.secrets.replace(text, (rule) => this.note(rule));
  }

  /** A text as an entry can hold it. */
  recordable(text: string): string {
    if (text.length > textCharactersMax) return `[text of ${text.length} characters, not recorded]`;
    return storable(this.replaced(text));
  }

  /** Any JSON value, without secrets and representable in canonical JSON. */
  freeForm(value: unknown): unknown {
    if (this.isTooDeep) return '[nested too deeply to be recorded]';
    if (typeof value === 'string') return this.recordable(value);
    if (typeof value === 'number') return this.#number(value);
    if (value === null || value === undefined || typeof value === 'boolean') return value ?? null;
    if (Array.isArray(value)) return this.#items(value);
    if (typeof value !== 'object') return `[${typeof value}]`;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, member]) => member !== undefined)
        .map(([name, member]) => {
          const shown = this.recordable(name);
          return [shown, this.at(shown, () => this.#member(value, name, member))];
        }),
    );
  }

  #member(owner: object, name: string, member: unknown): unknown {
    const rule = member === null || typeof member === 'boolean' ? null : ruleForMember(owner, name);
    return rule === null ? this.freeForm(member) : this.marked(rule, member);
  }

  #items(items: readonly unknown[]): unknown[] {
    const ofKey = linesOfPrivateKey(items);
    const isPair = isSecretPair(items);
    return items.map((item, place) =>
      this.at(String(place), () => {
        if (ofKey.has(place)) return this.marked('pem-private-key', item);
        return isPair && place === 1 ? this.marked('secret-pair', item) : this.freeForm(item);
      }),
    );
  }

  #number(value: number): number | string {
    if (!Number.isSafeInteger(value)) return String(value);
    return value >= 1e12 && findCardNumbers(String(value)).length > 0 ? this.marked('card-number', value) : value;
  }
}

/** A text that UTF-8 and PostgreSQL can hold. */
export function storable(text: string): string {
  return text.isWellFormed() && !text.includes('\0') ? text : text.toWellFormed().replaceAll('\0', '\uFFFD');
}

/** Places of the lines behind the first one of a private key in PEM that was divided into its lines. */
export function linesOfPrivateKey(items: readonly unknown[]): ReadonlySet<number> {
  const places = new Set<number>();
  let isInside = false;
  for (const [place, item] of items.entries()) {
    if (typeof item !== 'string') continue;
    if (isInside) places.add(place);
    if (/-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY/.test(item)) isInside = true;
    if (item.includes('-----END ')) isInside = false;
  }
  return places;
}
