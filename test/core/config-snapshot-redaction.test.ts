import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Redactor } from '../../src/access/redact.js';
import { redactConfigText } from '../../src/config-snapshots/redact-config-text.js';
import { isSecretFile, SecretNames } from '../../src/config-snapshots/secret-names.js';

const redactor = new Redactor(randomBytes(32));
const names = new SecretNames(redactor);
const redact = (text: string) => redactConfigText(text, redactor, names);
const secret = 'hunter2,Tr0ub4dor&3';
const marked = redactor.mark(secret);
const pem = `-----BEGIN PRIVATE KEY-----\nMIGEAgEAMBAG${secret}\nAAAA/BBBB+CCCC==\n-----END PRIVATE KEY-----`;

describe('a configuration text is stored without the value of a secret', () => {
  test.each([
    ['dotenv', `DB_PASSWORD=${secret}\nPORT=1`],
    ['dotenv in quotes', `export API_TOKEN="${secret}" # of production`],
    ['dotenv in single quotes', `STRIPE_KEY='${secret}'`],
    ['dotenv over several lines', `TLS_KEY="first\n${secret}\nlast"\nPORT=1`],
    ['a commented line', `# smtp_pass = ${secret}`],
    ['a shell script', `curl -H "X-Api-Key: ${secret}" https://broker.example`],
    ['a continued line', `CLIENT_SECRET=first\\\n  ${secret}\nPORT=1`],
    ['INI', `[mail]\nuser = bob\npassword : ${secret}`],
    ['an INI section of credentials', `[broker credentials]\nlive = ${secret}\n[limits]\nmax = 3`],
    ['properties', `spring.datasource.password=${secret}`],
    ['TOML', `[db]\npassword = "${secret}"\nport = 5432`],
    ['TOML over several lines', `signing_key = """\n${secret}\n"""\nport = 5432`],
    ['a TOML list', `tokens = [\n  "one",\n  "${secret}",\n]\nport = 5432`],
    ['YAML', `broker:\n  apiKey: ${secret}\n  name: desk`],
    ['YAML in quotes', `broker: { "client-secret": '${secret}', name: desk }`],
    ['a YAML block', `auth_token: |\n  first\n\n  ${secret}\nport: 1`],
    ['a folded YAML block in a list', `- private_key: >-\n    ${secret}\n  name: desk`],
    ['a YAML list', `passwords:\n- one\n- ${secret}\nport: 1`],
    ['what is nested below a YAML name', `credentials:\n  live: ${secret}\nport: 1`],
    ['a YAML pair of name and value', `env:\n  - name: DB_PASSWORD\n    value: ${secret}\n`],
    ['a YAML pair, the value first', `env:\n  - value: ${secret}\n    name: DB_PASSWORD\n`],
    ['JSON', `{\n  "user": "bob",\n  "password": "${secret}"\n}`],
    ['JSON in one line', `{"a":1,"accessToken":"${secret}","b":[2]}`],
    ['JSON with a number in a secret name', `{"pin": 4711, "note": "x"}`, '4711'],
    ['a JSON list', `{"apiKeys":["one","${secret}"],"b":1}`],
    ['a JSON object', `{"credentials":{"live":{"x":"${secret}"}},"b":1}`],
    ['JSON inside JSON', JSON.stringify({ body: JSON.stringify({ password: secret }) })],
    ['a JSON pair of name and value', `{"name":"API_TOKEN","value":"${secret}"}`],
    ['an XML element', `<config><password>${secret}</password><port>1</port></config>`],
    ['an XML attribute', `<user name="bob" password="${secret}" port="1"/>`],
    ['an XML pair', `<add key="SmtpPassword" value="${secret}"/>`],
    ['a flag', `ExecStart=/usr/bin/bot --api-token ${secret}`],
    ['a flag with a sign', `ExecStart=/usr/bin/bot --password=${secret} --verbose`],
    ['a list of arguments', `command: ["bot", "--password", "${secret}"]`],
    ['a YAML list of arguments', `args:\n  - --password\n  - ${secret}\n`],
    ['a word before a string', `CREATE USER bob PASSWORD '${secret}'`],
    ['two words on a line', `requirepass ${secret}`],
    ['a connection string', `dsn: Server=db;User=bob;Password=${secret};Encrypt=true`],
    ['a connection string inside quotes', `"Default": "Server=db;Password=${secret};Encrypt=true"`],
    ['credentials in a URL', `url: postgres://bob:${secret.replace('&', '')}@db.example:5432/books`, 'hunter2'],
    ['an at sign in the password of a URL', 'url: redis://:first@Second@cache.example/0', 'Second'],
    ['a token as the user of a URL', 'remote = https://0123456789abcdef@git.example/x.git', '0123456789abcdef'],
    ['a query parameter', `webhook at https://hooks.example/x?user=bob&token=${secret}`],
    ['HCL', `resource "db" "main" {\n  password = <<EOT\n${secret}\nEOT\n  port = 1\n}`],
    ['a private key in PEM', `key below\n${pem}\nport: 1`, 'MIGEAgEAMBAG'],
    ['a private key behind a sign', `TLS=x\nTLS_KEY=${pem}\nPORT=1`, 'AAAA/BBBB'],
    ['a private key without its end', pem.slice(0, -30), 'AAAA/BBBB'],
    ['an authorization header', 'header: "Authorization: Bearer abcdefghijklmnop"', 'abcdefghijklmnop'],
    ['a vendor key without a name', 'x: sk_live_abcdefghijklmnop1234', 'sk_live_abcdefghijklmnop1234'],
    ['lines with carriage returns', `a=1\r\nPASSWORD=${secret}\r\nb=2\r\n`],
  ])('%s', (_, text, hidden = secret) => {
    expect(text).toContain(hidden);
    const redacted = redact(text);
    expect(redacted.text).not.toContain(hidden);
    expect(redacted.redactions).toBeGreaterThan(0);
  });

  test('whatever the secret is, in every usual form', () => {
    const value = fc.stringMatching(/^[A-Za-z0-9!$%^*()_+.?-]{6,40}$/);
    const forms = [
      (text: string) => `PASSWORD=${text}`,
      (text: string) => `password: "${text}"`,
      (text: string) => `{"user":"bob","password":"${text}"}`,
      (text: string) => `  - name: DB_PASSWORD\n    value: "${text}"`,
      (text: string) => `<password>${text}</password>`,
      (text: string) => `password:\n  ${text}`,
    ];
    fc.assert(
      fc.property(value, fc.constantFrom(...forms), (text, form) => {
        expect(redact(form(text)).text).not.toContain(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

test('the same secret has the same mark in each format, and another one has another', () => {
  const texts = [`A_PASSWORD=${secret}`, `password: "${secret}"`, `{"secret":"${secret}"}`, `<token>${secret}</token>`];
  for (const text of texts) expect(redact(text).text).toContain(marked);
  expect(redact('A_PASSWORD=other').text).not.toContain(marked);
});

test.each([
  'port: 5432\nhost: db.example\nlimits:\n  max_position: 100.5\n',
  '{"symbol":"AAPL","side":"BUY","stops":[1,2,3]}\n',
  'passwords:\nport: 1\ntoken = ""\n',
  '# keyboard layout\nlayout = us\nmonkey = see\n',
  'https://example.com/docs?page=2 and http://[::1]:80/\n',
])('what is no secret stays as it is: %j', (text) => {
  expect(redact(text)).toEqual({ text, redactions: 0 });
});

test('what stands around a secret stays', () => {
  const text = `a=1\nDB_PASSWORD=${secret}\nb=2\n`;
  expect(redact(text)).toEqual({ text: `a=1\nDB_PASSWORD=${marked}\nb=2\n`, redactions: 1 });
  const json = `{"user":"bob","password":"${secret}","port":1}`;
  expect(redact(json).text).toBe(`{"user":"bob","password":"${marked}","port":1}`);
});

test('any text is redacted in time that grows with its length', () => {
  const hostile = [
    ' ',
    '"',
    "'",
    '[',
    '{',
    '-',
    'a-',
    'a.',
    'key:',
    '://',
    ':',
    '<',
    '\\',
    'password ',
    '=',
    '@',
    '\n',
    'key: [\n',
    '<key ',
  ];
  for (const piece of hostile) {
    const line = piece.repeat(Math.floor(8_000 / piece.length));
    const startedMs = performance.now();
    redact(`${line}\n${line}\n`);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  }
});

test('files that are named as secrets are told from others', () => {
  const secrets = ['tls/server.key', 'secrets/db', '.pgpass', 'aws/credentials', 'home/.ssh/id_ed25519', 'db-password'];
  const others = ['config/app.yaml', '.env', 'keys.md', 'strategies/secretary.toml', 'server.crt'];
  expect(secrets.filter(isSecretFile)).toEqual(secrets);
  expect(others.filter(isSecretFile)).toEqual([]);
});
