import { hash } from 'node:crypto';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { memberRules } from './secret-members.js';
import { builtInShapes, type SecretShape } from './secret-shapes.js';

/** Raised when what the rules do changes without a change of a pattern: it is part of the hash. */
const rulesVersion = 1;

/** The rule under which values of inputs marked `@sensitive` are recorded. */
export const sensitiveRule = 'sensitive';

/** A rule as readers see it. */
interface RedactionRule {
  readonly name: string;
  readonly description: string;
}

/** The rules in force: fixed for as long as the process runs. */
export interface RedactionRules {
  /** By which secrets are found inside texts, in the order of application: those that every node has come first. */
  readonly shapes: readonly SecretShape[];
  /** All rules, also those that go by names and by marks in the schema. */
  readonly described: readonly RedactionRule[];
  /** SHA-256 over the RFC 8785 form of names and patterns, in hex: two nodes redact alike where it is the same. */
  readonly hash: string;
}

/** The rules of every node and those that its operator adds. */
export function redactionRules(added: readonly SecretShape[] = []): RedactionRules {
  const marked = {
    name: sensitiveRule,
    description: 'Values of inputs that the schema marks @sensitive.',
    pattern: null,
  };
  const shapes = [...builtInShapes, ...added];
  const rules = [marked, ...memberRules, ...shapes];
  const canonical = encodeCanonicalJson({
    rules: rules.map(({ name, pattern }) => ({ name, pattern: pattern === null ? undefined : String(pattern) })),
    version: rulesVersion,
  });
  return {
    shapes,
    described: rules.map(({ name, description }) => ({ name, description })),
    hash: hash('sha256', canonical, 'hex'),
  };
}
