import { createHash, randomBytes, randomInt } from 'node:crypto';

/** A secret as people let it slip: the text it stands in, and what of it must appear nowhere. */
export interface SampleSecret {
  readonly shape: string;
  readonly text: string;
  readonly plain: string;
  /** The secret alone, where its form gives it away without anything around it. */
  readonly bare: string | null;
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const digits = '0123456789';

function draw(alphabet: string, length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}

/** Base64 in which letters of both cases and digits occur, as in nearly every random one. */
function drawBase64(length: number): string {
  for (;;) {
    const text = draw(letters + digits + '+/', length);
    const kinds = text.replaceAll(/[a-z]/g, 'a').replaceAll(/[A-Z]/g, 'A').replaceAll(/[^aA]/g, '0');
    if ([...kinds].filter((kind, place) => kind !== kinds[place - 1]).length > 18 && new Set(text).size > 22)
      return text;
  }
}

/** A number of sixteen digits that begins like those of a card and ends with the right check digit. */
function drawCardNumber(): string {
  const body = `4${draw(digits, 14)}`;
  const check = [...digits].find((digit) => {
    const sum = [...(body + digit)].reverse().reduce((total, each, place) => {
      const value = Number(each) * (place % 2 === 1 ? 2 : 1);
      return total + (value > 9 ? value - 9 : value);
    }, 0);
    return sum % 10 === 0;
  });
  return body + (check ?? '');
}

/** One fresh secret of each shape, so that each can be looked for everywhere without finding another test's. */
export function drawSecrets(): SampleSecret[] {
  const password = () => `Pw${draw(letters + digits, 14)}!`;
  const hex = () => randomBytes(32).toString('hex');
  const token = () => `${draw(letters + digits, 30)}7`;
  const make = (
    shape: string,
    plain: string,
    text: (plain: string) => string,
    bare: (plain: string) => string | null = () => null,
  ): SampleSecret => ({ shape, plain, text: text(plain), bare: bare(plain) });
  const itself = (plain: string) => plain;
  const pem = randomBytes(96).toString('base64');
  const jwtPayload = Buffer.from(JSON.stringify({ sub: hex() })).toString('base64url');
  const jwtOf = (payload: string) => `eyJhbGciOiJIUzI1NiJ9.${payload}.c2lnbmF0dXJlIG9mIGl0`;
  return [
    make('a password in JSON', password(), (plain) => `{"user":"kim","password":"${plain}"}`),
    make('a password in JSON inside JSON', password(), (plain) => JSON.stringify({ body: `{"password":"${plain}"}` })),
    make('KEY=VALUE', password(), (plain) => `DB_PASSWORD=${plain} DB_USER=kim`),
    make('a quoted value with spaces', `${password()} ${password()}`, (plain) => `passphrase: "${plain}"`),
    make('a bearer token', token(), (plain) => `Authorization: Bearer ${plain}`),
    make('a bearer token alone', token(), (plain) => `sent Bearer ${plain} to the broker`),
    make('basic credentials', Buffer.from(`kim:${password()}`).toString('base64'), (plain) => `Basic ${plain}`),
    make('a JSON Web Token', jwtPayload, jwtOf, jwtOf),
    make(
      'an AWS access key',
      `AKIA${draw(letters.slice(0, 26) + digits, 16)}`,
      (plain) => `id ${plain} was used`,
      itself,
    ),
    make(
      'an AWS key pair',
      drawBase64(40),
      (plain) => `{"AccessKeyId":"AKIA${draw(letters.slice(0, 26), 16)}","SecretAccessKey":"${plain}"}`,
    ),
    make('an AWS secret key', drawBase64(40), (plain) => `the key is ${plain} as you know`, itself),
    make(
      'a private key in PEM',
      pem.slice(8, 60),
      () => `-----BEGIN RSA PRIVATE KEY-----\n${pem}\n-----END RSA PRIVATE KEY-----`,
    ),
    make('credentials in a URL', password().replace('!', ''), (plain) => `https://kim:${plain}@example.org/x`),
    make('a token in a URL', token(), (plain) => `https://example.org/x?token=${plain}&page=2`),
    make('an API key in a URL', token(), (plain) => `https://example.org/x?page=2&api_key=${plain}`),
    make('a percent-encoded token', token(), (plain) => `next=https%3A%2F%2Fexample.org%2F%3Faccess_token%3D${plain}`),
    make('a card number', drawCardNumber(), (plain) => `paid with ${plain} 12/29`, itself),
    make('a key of a vendor', `sk-proj-${draw(letters + digits, 30)}1`, (plain) => `model key ${plain}`, itself),
    make('a token of GitHub', `ghp_${draw(letters + digits, 35)}1`, (plain) => `pushed with ${plain}`, itself),
    make('a token of Slack', `xoxb-${draw(digits, 12)}-${draw(letters, 24)}`, (plain) => `posted as ${plain}`, itself),
    make(
      'a key of Daybook',
      `daybook_${randomBytes(32).toString('base64url')}`,
      (plain) => `my key is ${plain}`,
      itself,
    ),
    make('a connection string', password(), (plain) => `postgres://kim:${plain}@db.example.org:5432/x?sslmode=require`),
    make('a password with @ in a connection string', `a@${password()}`, (plain) => `mysql://kim:${plain}@db/x`),
    make('hex under a secret name', hex(), (plain) => `client_secret: ${plain}`),
    make(
      'base64 under a secret name',
      createHash('sha512').update(randomBytes(8)).digest('base64'),
      (plain) => `AWS_SECRET_ACCESS_KEY="${plain}"`,
    ),
    make('an option of a command', password(), (plain) => `mysqldump --password ${plain} daybook`),
    make('a password in SQL', password(), (plain) => `ALTER ROLE kim PASSWORD '${plain}'`),
    make('a password in XML', password(), (plain) => `<login><password>${plain}</password></login>`),
    make('a cookie', token(), (plain) => `Cookie: sid=${plain}`),
    make('the cookie of a session', token(), (plain) => `with JSESSIONID=${plain}; Path=/`),
    make('a nested password in JSON', password(), (plain) => `{"credentials":{"live":{"x":"${plain}"}}}`),
    make('an escaped name in JSON', password(), (plain) => `{"p\\u0061ssword":"${plain}"}`),
    make('a sentence', `${password()}7`, (plain) => `the password is ${plain}`),
    make('a signed URL', hex(), (plain) => `https://bucket.example.org/x?X-Amz-Signature=${plain}`),
  ];
}

/** Of these secrets' plain values, those that occur in a text. */
export function secretsIn(text: string, secrets: readonly SampleSecret[]): string[] {
  return secrets.filter(({ plain }) => text.includes(plain)).map(({ shape }) => shape);
}
