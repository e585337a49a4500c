/**
 * Words that make a name that of a secret wherever they stand in it, as the source of a regular expression that is used
 * without regard to case.
 */
export const secretWords = String.raw`pass(?:word|wd|phrase|code|key)|pass(?![a-z])|pwd|secret|token|credential|mnemonic|(?:api|access|account|auth|client|encryption|license|master|private|service|shared|signing|ssh|storage)[-_. ]?key|seed[-_. ]?phrase|connection[-_. ]?string|(?<![a-z])(?:pin|t?otp|cvv2?|cvc2?)(?![a-z])`;

/** Names of members, their words divided by `_`, whose values are secrets. */
const secretName = new RegExp(String.raw`${secretWords}|authorization|cookie|bearer|jwt|^auth$|[-_.]auth$`, 'i');

/** Names of members that say which secret is meant, and hold none. */
const namesSecret = /^secret_(?:name|type)$/i;

/** Names of configurations whose old and new values are secrets. */
const secretConfiguration = new RegExp(String.raw`${secretWords}|key|authorization|cookie|webhook`, 'i');

/** Members that name what another member of the same object holds, as in `{"name": "DB_PASSWORD", "value": …}`. */
const labels = ['name', 'key', 'header', 'field', 'variable', 'parameter'] as const;
const labelled = ['value', 'values', 'content', 'default', 'data'] as const;
const configurationValues = ['oldValue', 'newValue'] as const;

/** Longest text that is taken for a name. */
const nameCharactersMax = 200;

/** Names that were looked at before: there are few, and they come again and again. */
const knownNames = new Map<string, boolean>();
const knownNamesMax = 10_000;

/** True for names such as `apiKey`, `DB_PASSWORD` and `user-pin`, wherever they occur. */
export function isSecretName(name: string): boolean {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  const words = name.normalize('NFKC').replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2');
  const isSecret = secretName.test(words) && !namesSecret.test(words);
  if (knownNames.size < knownNamesMax && name.length <= nameCharactersMax) knownNames.set(name, isSecret);
  return isSecret;
}

/** The rule by which a member of an object is a secret; null where it is to be looked into. */
export function ruleForMember(owner: object, name: string): string | null {
  if (isSecretName(name)) return 'secret-name';
  if ((labelled as readonly string[]).includes(name)) {
    return labels.some((label) => isSecretLabel(textMember(owner, label))) ? 'secret-pair' : null;
  }
  if ((configurationValues as readonly string[]).includes(name)) {
    const configType = textMember(owner, 'configType');
    if (configType === null) return null;
    const names = `${configType} ${textMember(owner, 'filePath') ?? ''}`;
    return secretConfiguration.test(names) ? 'secret-config' : null;
  }
  return null;
}

/** True where the first of two texts names the second a secret, as in `["DB_PASSWORD", "…"]`. */
export function isSecretPair(items: readonly unknown[]): boolean {
  const [label, text] = items;
  return items.length === 2 && typeof text === 'string' && isSecretLabel(typeof label === 'string' ? label : null);
}

function isSecretLabel(label: string | null): boolean {
  return label !== null && label.length <= nameCharactersMax && /^\S+(?: \S+)?$/.test(label) && isSecretName(label);
}

function textMember(owner: object, name: string): string | null {
  const member = (owner as Readonly<Record<string, unknown>>)[name];
  return typeof member === 'string' ? member : null;
}

/** What makes a member a secret, by rule: for the description of the rules. */
export const memberRules = [
  {
    name: 'secret-name',
    description: 'Members with a secret name, in JSON and in inputs, whatever they hold.',
    pattern: secretName,
  },
  {
    name: 'secret-pair',
    description: 'Values whose name is the value of another member, as in {"name": "DB_PASSWORD", "value": …}.',
    pattern: secretName,
  },
  {
    name: 'secret-config',
    description: 'The old and new value of a configuration whose type or file names secrets, keys or credentials.',
    pattern: secretConfiguration,
  },
] as const;
