import { findCardNumbers } from './card-number.js';
import { secretWords } from './secret-members.js';

/** A rule that finds secrets inside texts. */
export interface SecretShape {
  /** As entries name it, in kebab-case. */
  readonly name: string;
  readonly description: string;
  /**
   * Global. What it matches is the secret, without the group `lead` where it has one. Time must grow with the text alone: runs
   * are entered at their beginning only, and whatever can be retried is bounded.
   */
  readonly pattern: RegExp;
  /** The secret may be wrapped in quotes, which stay: the mark is that of what they hold. */
  readonly quoted?: boolean;
  /** Where in the secret that matched the real ones lie; all of it where this is absent. */
  readonly find?: (secret: string, lead: string) => readonly (readonly [from: number, to: number])[];
}

/** A mark that stands already is no secret: text that was redacted before comes through as it is. */
const unmarked = String.raw`(?!\[redacted [0-9a-f]{32}\])`;

const name = String.raw`(?:${secretWords})[\w.-]{0,32}`;

/**
 * A value in quotes of either kind, also where the quotes are escaped because the text is JSON inside JSON, or else a list or
 * group in brackets, or else all up to white space. A separator belongs to a value without quotes unless another name follows it.
 */
const value = (() => {
  const quoted = (quote: string) =>
    String.raw`${quote}(?:[^${quote}\\\r\n]|\\[^\r\n]|${quote}${quote}(?=[^\s${quote},;:)\]}])){0,4096}${quote}?|\\+${quote}(?:[^${quote}\\\r\n]|\\+(?![${quote}\\])){0,4096}(?:\\+${quote})?`;
  // A secret name with its separator begins a value of its own.
  const next = String.raw`(?!${name}\\*["']?\s{0,3}[=:])`;
  const plain = String.raw`(?:${next}(?:[^\s"'\`&;,\\]|\\(?![\\"'])|["'\`](?![\s,;:}\])]|$)|[&;,](?![\w.[\]%-]{0,64}\\*["']?\s{0,3}[=:]))){1,4096}`;
  const inBraces = (inner: string) => String.raw`\{(?:[^{}\r\n]|${inner}){0,4096}\}`;
  const bracketed = String.raw`${inBraces(inBraces(inBraces('(?!)')))}|\[[^[\]\r\n]{0,4096}\]`;
  return `${unmarked}(?:${quoted('"')}|${quoted("'")}|${quoted('`')}|${bracketed}|${plain})`;
})();

const whole = (text: string) => [[0, text.length]] as const;
const when = (accepted: boolean, text: string) => (accepted ? whole(text) : []);

/** The rules that every node has. Order matters: the narrow ones come first, so that an entry names the one that knows most. */
export const builtInShapes: readonly SecretShape[] = [
  {
    name: 'pem-private-key',
    description: 'Private keys in PEM, up to their last line or the end of the text.',
    pattern:
      /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|$)/g,
  },
  {
    name: 'authorization',
    description: 'Authorization headers, and bearer and basic credentials wherever they stand.',
    pattern:
      /(?<lead>(?:proxy-)?authorization\\*["']?\s{0,5}[:=]\s{0,5}\\*["']?)(?:digest\s[^\r\n]{1,4096}|[^\s"'\\][^\r\n"'\\]{0,4096})|\b(?:bearer|basic)[\s+]{1,5}[\w.~+/=-]{8,}/gi,
    find: findCredential,
  },
  {
    name: 'daybook-key',
    description: 'API keys of Daybook.',
    pattern: /daybook_[A-Za-z0-9_-]{16,}/g,
  },
  {
    name: 'jwt',
    description: 'JSON Web Tokens.',
    pattern: /(?<![\w-])[\w-]{10,}(?:\.[\w-]*){2,4}/g,
    find: (text) => {
      const from = text.search(/eyJ[\w-]{8}/);
      return from === -1 ? [] : [[from, text.length]];
    },
  },
  {
    name: 'aws-access-key',
    description: 'Ids of AWS access keys.',
    pattern: /(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])/g,
  },
  {
    name: 'aws-secret-key',
    description: 'Secret AWS access keys: 40 characters of base64 that read as random.',
    pattern: /(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40,}(?![A-Za-z0-9/+=])/g,
    find: findAwsSecrets,
  },
  {
    name: 'vendor-key',
    description: 'Keys and tokens with the usual prefixes of vendors, as sk-, ghp_, xoxb-, AIza.',
    pattern:
      /(?<![A-Za-z0-9])(?:(?:sk|pk|rk|whsec|gh[opusr]|github_pat|glpat|xapp|xox[abeoprs]|npm|pypi|hf|gsk|shpat|dop_v1)[-_][A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9._-]{20,}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}|\d{8,10}:AA[A-Za-z0-9_-]{30,}|AGE-SECRET-KEY-1[A-Z0-9]{50,}|xprv[1-9A-HJ-NP-Za-km-z]{90,})/g,
    find: (text) => when(/\d/.test(text), text),
  },
  {
    name: 'webhook-url',
    description: 'Addresses of Slack and Discord webhooks, which are keys in themselves.',
    pattern:
      /(?<lead>hooks\.slack\.com\/(?:services|workflows|triggers)\/|discord(?:app)?\.com\/api\/(?:v\d{1,2}\/)?webhooks\/)[\w/-]{16,}/g,
  },
  {
    name: 'cookie',
    description: 'Cookie headers.',
    pattern: /(?<lead>(?<![\w-])(?:set-)?cookie\\*["']?\s{0,5}[:=]\s{0,5}\\*["']?)[^\s"'\\][^\r\n"'\\]{0,4096}/gi,
  },
  {
    name: 'session-cookie',
    description: 'Cookies of sessions by their usual names, as in JSESSIONID=…, also outside of a header.',
    pattern:
      /(?<lead>(?<![\w.-])(?:jsessionid|phpsessid|asp\.net_sessionid|connect\.sid|laravel_session|session_?id|session|sid)=)(?!\[redacted [0-9a-f]{32}\])[^\s"'&;,<>\\]{8,4096}/gi,
  },
  {
    name: 'seed-phrase',
    description: 'Twelve to 24 words of a wallet behind a word such as mnemonic or seed phrase.',
    pattern:
      /(?<lead>\b(?:mnemonic|(?:seed|recovery|secret)[-_. ]?(?:phrase|words))\b[^a-z]{1,5}(?:is\b[^a-z]{1,3})?)[a-z]{3,8}(?:[\s,]{1,3}[a-z]{3,8}){11,23}\b/gi,
  },
  {
    name: 'url-credentials',
    description: 'User and password in URLs and connection strings.',
    pattern:
      /(?<lead>:\/\/)(?:[^\s:@/?#"'<>\\]{0,256}:[^\s"'<>\\]{1,1024}(?=@)|[^\s:@/?#"'<>\\]{20,256}(?=@))|(?<![\w:/.@-])[\w.-]{1,64}:[^\s"'@/]{1,256}(?=@(?:(?:tcp|unix)\(|[\w.-]{1,255}:\d{2,5}\b))/gi,
    // A port and a path are no password, even where an @ comes later.
    find: (text) => when(!/^[^:]*:\d{1,5}\//.test(text), text),
  },
  {
    name: 'url-parameter',
    description: 'Parameters of URLs that sign or authorise: sig, signature, key, auth, code, session and the like.',
    pattern:
      /(?<lead>[?&;](?:sig|signature|x-amz-(?:signature|credential)|key|auth|code|jwt|sid|session(?:_?id)?|hmac|assertion|ticket)=)(?!\[redacted [0-9a-f]{32}\])[^\s&#"'<>\\]{4,4096}/gi,
  },
  {
    name: 'assignment',
    description: 'Values assigned to a secret name, as in DB_PASSWORD=…, "token": "…", ?api_key=…, user[password]=….',
    pattern: new RegExp(
      String.raw`(?<lead>${name}(?:\[\w{0,32}\])?\]?\\*["'\`]?\s{0,5}(?:[:=]{1,3}>?|->)\s{0,16})${value}`,
      'gi',
    ),
    quoted: true,
    find: (text, lead) => when(!isNamedToken(text, lead) && !/^(?:true|false|null)[\]}]*$/i.test(text), text),
  },
  {
    name: 'command-option',
    description: 'Values of options with a secret name, as in --password …, and the password in --user name:password.',
    pattern: new RegExp(
      String.raw`(?<lead>(?<![\w-])--?[\w-]{0,40}?${name}\s{1,5})(?!-)${value}|(?<![\w-])(?:-u|--(?:proxy-)?user)[\s=]{1,3}["']?[\w.@-]{1,64}:${unmarked}[^\s"']{4,256}`,
      'gi',
    ),
    quoted: true,
    find: findOption,
  },
  {
    name: 'text-pair',
    description: 'Values whose name is the value before them, as in <add key="password" value="…"/>.',
    pattern: new RegExp(
      String.raw`(?<lead>(?<![\w-])(?:name|key|header|field|variable|parameter)\\*["']?\s{0,3}[=:]\s{0,3}\\*["']?[\w.-]{0,40}?(?:${name}|authorization|cookie)\\*["']?[\s,;]{1,5}\\*["']?(?:value|content|default|data)\\*["']?\s{0,3}[=:]\s{0,3})${value}`,
      'gi',
    ),
    quoted: true,
  },
  {
    name: 'stated',
    description: 'What a sentence gives as a secret, as in "the password is …", where it reads like one.',
    pattern: new RegExp(
      String.raw`(?<lead>(?<![a-z])(?:${secretWords})s?\s{1,3}(?:(?:is|was|=)\s{1,3})?)${unmarked}["'\`]?[^\s"'\`,;]{6,256}["'\`]?`,
      'gi',
    ),
    quoted: true,
    find: findStated,
  },
  {
    name: 'sql-password',
    description: "Passwords in SQL, as in PASSWORD '…' and IDENTIFIED BY '…'.",
    pattern: /(?<lead>\b(?:password|passwd|identified\s{1,5}by)\s{1,5})'(?:[^']|''){0,1024}'?/gi,
    quoted: true,
  },
  {
    name: 'xml-element',
    description: 'Contents of XML elements with a secret name.',
    pattern: new RegExp(
      String.raw`(?<lead><[\w:.-]{0,40}?${name}(?:\s[^<>]{0,200})?>\s{0,20})${unmarked}[^<\s][^<]{0,4095}`,
      'gi',
    ),
  },
  {
    name: 'card-number',
    description: 'Card numbers: the first digits and length of a card scheme, and a valid check digit.',
    pattern: /(?<![A-Za-z0-9])(?<!\d\.)(?<![0-9a-f]{4}-)\d(?:[ -]?\d){12,63}(?![A-Za-z0-9]|\.\d|-[0-9a-f]{4})/gi,
    find: findCardNumbers,
  },
];

/** Something of which stands in every text that one of the rules above can match; other texts are not looked at further. */
export const shapeHint = new RegExp(
  String.raw`${secretWords}|-----begin|daybook_|eyj|akia|asia|abia|acca|(?<![a-z0-9/+])[a-z0-9/+]{40}|(?:sk|pk|rk|whsec|gh[opusr]|github_pat|glpat|xapp|xox[abeoprs]|npm|pypi|hf|gsk|shpat|dop_v1)[-_]|aiza|ya29|sg\.|:aa|age-sec|xprv|webhook|sess|sid=|(?:seed|recovery|secret)[-_. ]?(?:phrase|words)|-u[\s=]|user[\s=]|hooks\.|authorization|bearer|basic|cookie|@|[?&;][a-z_-]{2,20}=|identified|\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d`,
  'i',
);

const awsSecretLength = 40;

/** A slash belongs to base64 and divides paths: secrets begin and end at the ends of a run or at its slashes. */
function findAwsSecrets(run: string): (readonly [number, number])[] {
  const found: (readonly [number, number])[] = [];
  for (let from = 0; from + awsSecretLength <= run.length; from += 1) {
    const to = from + awsSecretLength;
    const isWhole = (from === 0 || run[from - 1] === '/') && (to === run.length || run[to] === '/');
    if (!isWhole || !readsAsRandom(run.slice(from, to))) continue;
    found.push([from, to]);
    from = to;
  }
  return found;
}

/** Random base64 of 40 characters changes its kind of character often and repeats few; names and paths do not. */
function readsAsRandom(text: string): boolean {
  if (!/[a-z]/.test(text) || !/[A-Z]/.test(text)) return false;
  const kinds = text.replaceAll(/[a-z]/g, 'a').replaceAll(/[A-Z]/g, 'A').replaceAll(/[^aA]/g, '0');
  let changes = 0;
  for (let place = 1; place < kinds.length; place += 1) if (kinds[place] !== kinds[place - 1]) changes += 1;
  return changes >= 14 && new Set(text).size >= 20;
}

/**
 * What stands behind the scheme. Without the header's name before it, `Bearer 6f8a…` and `Basic dXNlcjpwYXNz` are told from
 * "bearer securities" and "basic assumptions".
 */
function findCredential(text: string, lead: string): (readonly [number, number])[] {
  const [scheme = ''] = /^(?:bearer|basic|token|apikey|negotiate)[\s+]+/i.exec(text) ?? [];
  if (lead !== '') return [[scheme.length, text.length]];
  const given = text.slice(scheme.length).replace(/\.+$/, '');
  const credential = /^bearer/i.test(scheme) ? bearerIn(given) : basicIn(given);
  return credential === null ? [] : [[scheme.length, scheme.length + credential.length]];
}

function bearerIn(given: string): string | null {
  return given.length >= 20 || /\d/.test(given) || /[a-z][A-Z]/.test(given) ? given : null;
}

/** In a path the credential ends at one of the slashes, which base64 can hold as well. */
function basicIn(given: string): string | null {
  let candidate = given;
  for (let tries = 0; tries < 16 && candidate.length >= 4; tries += 1) {
    if (isUserAndPassword(Buffer.from(candidate, 'base64'))) return candidate;
    candidate = candidate.slice(0, Math.max(0, candidate.lastIndexOf('/')));
  }
  return null;
}

function isUserAndPassword(bytes: Uint8Array): boolean {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // eslint-disable-next-line no-control-regex -- what holds them is no text that somebody typed
    return text.includes(':') && !/[\u0000-\u001f]/.test(text);
  } catch {
    return false;
  }
}

/** User and password of `-u kim:…`, of which two numbers are ids; else the value of a secret option. */
function findOption(text: string, lead: string): (readonly [number, number])[] {
  if (lead !== '') return [[0, text.length]];
  const [before = ''] = /^[^\s=]+[\s=]{1,3}["']?[^:]+:/.exec(text) ?? [];
  return /:\d+$/.test(text) ? [] : [[before.length, text.length]];
}

/** Behind "is" a secret has a digit and a letter or sign, or capitals inside; without it only a long number in hexadecimal is taken for one. */
function findStated(text: string, lead: string): readonly (readonly [number, number])[] {
  const given = text.replace(/^["'`]|["'`]$/g, '').replace(/[.!?)]+$/, '');
  if (!/(?:is|was|=)\s+$/i.test(lead)) return when(/^(?:0x)?[0-9a-f]{32,}$/i.test(given), text);
  if (given.length >= 10 && /[a-z][A-Z]/.test(given)) return [[0, text.length]];
  return when(/\d/.test(given) && !/^[\d.,:%$€/-]+$/.test(given) && !/^[A-Z]{2,6}\d{4}$/.test(given), text);
}

/** "Token: ETH" speaks of a coin: after a colon and a space a token that is one short word of letters is none. */
function isNamedToken(text: string, lead: string): boolean {
  return /token[\w.-]*\s*:\s+$/i.test(lead) && /^[A-Za-z]{1,12}[.,;!?)]?$/.test(text);
}
