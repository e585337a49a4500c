import type { Redactor } from '../access/redact.js';

/** Words that make a name that of a secret wherever they stand in it. */
const tellingParts =
  /passw|passphrase|passcode|pwd|secret|token|api[-_]?key|authorization|credential|private[-_]?key|access[-_]?key|cookie|mnemonic|connection[-_]?string/i;
/** Words that do so only as a whole word of the name, or at its end. */
const tellingWords = /^(keys?|pins?|otp|totp|cvv|cvc|salt|pepper|seed|dsn|jwt|hmac|creds?|webhook|bearer)$/;
const tellingEnds = /(^|[_-])auth$|pass$/i;

/** Names checked before are not checked again, up to so many. */
const namesKeptMax = 10_000;

/** Files that hold nothing but secrets, by their name or the folder they lie in. */
const secretFile =
  /\.(pem|key|p12|pfx|jks|keystore|truststore|kdbx|ppk|asc|gpg|age|ovpn)$|(^|[/._-])(secrets?|credentials?|passwords?|passwd|shadow|private[-_]?keys?)([/._-]|$)|(^|\/)(\.netrc|_netrc|\.pgpass|\.htpasswd|\.git-credentials|\.npmrc|\.pypirc|id_(rsa|dsa|ecdsa|ed25519))$/i;

/**
 * Tells names of secrets in configuration from others: those that the redactor knows, and more, because a value that is hidden
 * without need costs a line of a diff and one that is shown cannot be taken back. Owned by one snapshot.
 */
export class SecretNames {
  readonly #known = new Map<string, boolean>();

  constructor(private readonly redactor: Redactor) {}

  /** As in `DB_PASSWORD`, `apiKey`, `smtp.pass`. */
  isSecret(name: string): boolean {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const secret = this.#look(name);
    if (this.#known.size < namesKeptMax) this.#known.set(name, secret);
    return secret;
  }

  #look(name: string): boolean {
    if (tellingParts.test(name) || tellingEnds.test(name)) return true;
    const words = name
      .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
      .toLowerCase()
      .split(/[^a-z0-9]+/);
    return words.some((word) => tellingWords.test(word)) || this.redactor.redact({ [name]: 'value' }).rules.length > 0;
  }
}

/** Whether a file is kept by a keyed HMAC alone. `path`: below the root, with `/`. */
export function isSecretFile(path: string): boolean {
  return secretFile.test(path);
}
