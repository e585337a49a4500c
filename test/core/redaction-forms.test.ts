import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Redactor } from '../../src/access/redact.js';

const redactor = new Redactor(Buffer.alloc(32, 7));
const secret = 'hunterTwo22';

function look(text: string): { readonly redacted: string; readonly rules: readonly string[] } {
  const rules: string[] = [];
  return { redacted: redactor.redactText(text, (rule) => rules.push(rule)), rules };
}

const inForms: readonly (readonly [form: string, text: string, rule: string])[] = [
  ['a nested object of JSON', `{"password":{"old":"${secret}","n":[1]}}`, 'secret-name'],
  ['a list of JSON', `{"passwords":["a","${secret}"]}`, 'secret-name'],
  ['a pair of JSON', `[{"name":"DB_PASSWORD","value":"${secret}"}]`, 'secret-pair'],
  ['a pair of JSON, the value first', `{"value":"${secret}","name":"API_KEY"}`, 'secret-pair'],
  ['two items of JSON', `[["DB_PASSWORD","${secret}"]]`, 'secret-pair'],
  [
    'lines of a key in JSON',
    `["-----BEGIN PRIVATE KEY-----","${secret}","-----END PRIVATE KEY-----"]`,
    'pem-private-key',
  ],
  ['a name that JSON escapes', String.raw`{"pass\u0077ord":"${secret}"}`, 'secret-name'],
  ['a value that JSON escapes', String.raw`{"password":"hunterTwo\u003222"}`, 'secret-name'],
  [
    'a name that JSON inside JSON escapes',
    JSON.stringify({ body: String.raw`{"p\u0061ssword":"${secret}"}` }),
    'secret-name',
  ],
  ['a name that JSON inside a text escapes', String.raw`sent {"pass\u0077ord":"${secret}"}`, 'secret-name'],
  ['JSON in HTML', `<pre>{&quot;password&quot;:&quot;${secret}&quot;}</pre>`, 'secret-name'],
  ['JSON in HTML by numbers', `{&#34;password&#x22;&#58;&#34;${secret}&#34;}`, 'secret-name'],
  ['nested JSON inside a text', `/path/{"credentials":{"live":{"x":"${secret}"}}}?a`, 'secret-name'],
  [
    'JSON behind what only looks like it',
    `[note {a} {"passwords":[["${secret}"]]} and {"password":{"a":["${secret}"]}}`,
    'secret-name',
  ],
  ['a nested dictionary of Python', `{'credentials': {'live': {'x': '${secret}'}}}`, 'assignment'],
  ['an object of JavaScript', `secret = { value: "${secret}" }`, 'assignment'],
  ['a list of YAML', `passwords: [one, ${secret}]`, 'assignment'],
  ['two values after one another', `/a/client_secret: ${secret}/b?c=client_secret: ${secret}`, 'assignment'],
  ['a doubled quote', `password='it''s ${secret}' user='kim'`, 'assignment'],
  ['many spaces', `password:${' '.repeat(12)}${secret}`, 'assignment'],
  [
    'four percent-encodings',
    encodeURIComponent(encodeURIComponent(encodeURIComponent(encodeURIComponent(`password=${secret}`)))),
    'assignment',
  ],
  ['the cookie of a Java session', `JSESSIONID=${secret}; Path=/`, 'session-cookie'],
  ['the cookie of a PHP session', `with PHPSESSID=${secret}`, 'session-cookie'],
  ['a signed cookie, percent-encoded', `connect.sid=s%3A${secret}.sig`, 'session-cookie'],
  ['the options of curl', `curl -u kim:${secret} https://example.org`, 'command-option'],
  ['a long option of curl', `curl --user "kim:${secret}" https://example.org`, 'command-option'],
  ['an XML pair', `<add key="SmtpPassword" value="${secret}"/>`, 'text-pair'],
  ['a pair in a text', `name=DB_PASSWORD value=${secret}`, 'text-pair'],
  ['a sentence', `my password is ${secret}.`, 'stated'],
  ['a sentence with quotes', `The API key was "${secret}"`, 'stated'],
];

test.each(inForms)('a secret is found in %s', (_, text, rule) => {
  const { redacted, rules } = look(text);
  expect(redacted).not.toContain('hunter');
  expect(redacted).not.toContain(secret.slice(-6));
  expect(rules).toContain(rule);
  // Redacting again changes nothing, so that marks stay comparable.
  expect(look(redacted)).toEqual({ redacted, rules: [] });
});

test('all words of a seed phrase are one secret', () => {
  const words = 'legal winner thank year wave sausage worth useful legal winner thank yellow';
  for (const text of [`mnemonic: ${words}`, `the seed phrase is ${words}`, `seed words\n${words}`]) {
    expect(look(text).redacted).toContain(redactor.mark(words));
  }
});

test('a private key in hexadecimal is found behind its name', () => {
  const hex = 'ab12'.repeat(16);
  for (const text of [`private key 0x${hex}`, `private key: ${hex}`, `the signing key is 0x${hex}`]) {
    expect(look(text).redacted).not.toContain(hex);
  }
});

test.each([
  'The token is strong; the secret is out; a password was set.',
  'The secret is 2.5% of the fees, the key is 100/120.',
  'The token is BTC2024.',
  'user kim: 1,200 and -u 1000:1000',
  'session=eu and session = New York',
  'name=strategy value=momentum',
  '{"symbol":"AAPL","stops":[1.50,2e3,12345678901234567890],"hasToken":true}',
  '[1,2,3] and {not json}',
  'R&amp;D costs &lt; 5%',
  String.raw`caf\u0065 and C:\users\u0041`,
])('what is no secret stays to the byte: %s', (text) => {
  expect(look(text)).toEqual({ redacted: text, rules: [] });
});

test('what stands around a secret in JSON stays to the byte', () => {
  const text = `{ "price": 1.50,\n\t"id" : 12345678901234567890, "password" : "${secret}", "note":"caf\\u00e9" }`;
  expect(look(text).redacted).toBe(text.replace(secret, redactor.mark(secret)));
});

test('a secret member survives in no JSON text, however it is nested, escaped and spaced', () => {
  const name = fc.constantFrom('password', 'apiKey', 'DB_SECRET', 'user-pin', 'Authorization', 'accessToken');
  const escaped = (text: string) =>
    [...text].map((letter, place) => (place % 3 === 1 ? `\\u00${letter.charCodeAt(0).toString(16)}` : letter)).join('');
  const value = fc.uuid();
  const around = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      fc.jsonValue({ maxDepth: 1 }),
      fc.dictionary(fc.string(), tie('node'), { maxKeys: 3 }),
    ),
  })).node;
  fc.assert(
    fc.property(
      name,
      value,
      around,
      fc.boolean(),
      fc.integer({ min: 0, max: 2 }),
      (key, plain, other, isEscaped, depth) => {
        const member = isEscaped ? `"${escaped(key)}": "${plain}"` : `"${key}":"${plain}"`;
        let text = `{"other":${JSON.stringify(other)}, ${member} }`;
        for (let level = 0; level < depth; level += 1) text = JSON.stringify({ level, body: text });
        const { redacted, rules } = look(text);
        expect(redacted).not.toContain(plain);
        expect(rules).toContain('secret-name');
        expect(() => JSON.parse(redacted)).not.toThrow();
      },
    ),
    { numRuns: 300 },
  );
});

test('JSON that is nested without measure is searched as any text', () => {
  const text = `${'['.repeat(20_000)}"password=${secret}"${']'.repeat(20_000)}`;
  expect(look(text).redacted).not.toContain(secret);
});
