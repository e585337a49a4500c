import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { buildSchema } from 'graphql';
import { compileBoundedPattern } from '../../src/access/bounded-pattern.js';
import { parseRedactionRules } from '../../src/access/read-redaction-rules.js';
import { redactionRules } from '../../src/access/redaction-rules.js';
import { Redactor } from '../../src/access/redact.js';
import { withoutSecrets } from '../../src/access/replace-secrets.js';
import { environmentNames } from '../../src/config.js';
import { drawSecrets, secretsIn } from '../support/sample-secrets.js';

const key = Buffer.alloc(32, 7);
const redactor = new Redactor(key);
const markOf = (secret: string) => redactor.mark(secret);

/** A schema with marks wherever one can stand. */
const schema = buildSchema(`
  directive @sensitive on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
  scalar Decimal
  scalar Anything
  input Inner { code: String, level: Int }
  input Node {
    secret: String @sensitive
    secrets: [String] @sensitive
    matrix: [[String!]!] @sensitive
    inner: Inner @sensitive
    number: Int @sensitive
    note: String
    tags: [String!]
    price: Decimal
    anything: Anything
    child: Node
    children: [Node!]
  }
  type Query { ask(pin: String @sensitive, node: Node, apiKey: String): Int }
  type Mutation { change(node: Node!, nodes: [Node!]): Int }
`);
const bySchema = new Redactor(key, { schema });

describe('inputs that the schema marks', () => {
  test('are recorded as marks and passed as they are; the rule says where', () => {
    const node = {
      secret: 'plum',
      secrets: ['plum', null, 'pear'],
      matrix: [['plum']],
      inner: { code: 'plum', level: 1 },
      number: 5,
      note: 'nothing',
      child: { children: [{ secret: 'plum' }] },
    };
    const { value, rules, passed } = bySchema.redactArguments('change', { node });
    expect(value).toEqual({
      node: {
        secret: markOf('plum'),
        secrets: [markOf('plum'), null, markOf('pear')],
        matrix: [[markOf('plum')]],
        inner: markOf('{"code":"plum","level":1}'),
        number: markOf('5'),
        note: 'nothing',
        child: { children: [{ secret: markOf('plum') }] },
      },
    });
    expect(rules).toEqual([
      'sensitive /node/secret',
      'sensitive /node/secrets/0',
      'sensitive /node/secrets/2',
      'sensitive /node/matrix/0/0',
      'sensitive /node/inner',
      'sensitive /node/number',
      'sensitive /node/child/children/0/secret',
    ]);
    expect(passed).toEqual({ node });
  });

  test('survive nowhere in what is recorded, whatever else is given and however deep', () => {
    const secret = fc.uuid().map((id) => `plum ${id}`);
    const node = fc.letrec((tie) => ({
      node: fc.record(
        {
          secret,
          secrets: fc.array(fc.option(secret), { maxLength: 3 }),
          matrix: fc.array(fc.array(secret, { maxLength: 2 }), { maxLength: 2 }),
          inner: fc.record({ code: secret, level: fc.integer() }),
          note: fc.string({ unit: 'binary' }),
          tags: fc.array(fc.string(), { maxLength: 3 }),
          child: fc.option(tie('node'), { maxDepth: 3, nil: undefined }),
          children: fc.option(fc.array(tie('node'), { maxLength: 2 }), { maxDepth: 3, nil: undefined }),
        },
        { requiredKeys: [] },
      ),
    })).node;
    fc.assert(
      fc.property(node, fc.array(node, { maxLength: 2 }), (one, many) => {
        const given = { node: one, nodes: many };
        const before = structuredClone(given);
        const { value, rules } = bySchema.redactArguments('change', given);
        const secrets = JSON.stringify(given).match(/plum [0-9a-f-]{36}/g) ?? [];
        const recorded = JSON.stringify(value);
        expect(secrets.filter((each) => recorded.includes(each))).toEqual([]);
        expect(rules.filter((rule) => rule.startsWith('sensitive '))).toHaveLength(secrets.length);
        // What the caller of the redactor holds is never changed.
        expect(given).toEqual(before);
      }),
      { numRuns: 40 },
    );
  });

  test('an input with a secret name that was not marked reaches the operation as a mark only', () => {
    const { value, rules, passed } = bySchema.redactArguments('ask', { apiKey: 'plum', pin: '1234' });
    expect(value).toEqual({ apiKey: markOf('plum'), pin: markOf('1234') });
    expect(passed).toEqual({ apiKey: markOf('plum'), pin: '1234' });
    expect(rules).toEqual(['secret-name /apiKey', 'sensitive /pin']);
  });

  test('other texts reach the operation without secrets, numbers as they are', () => {
    const node = {
      note: 'password=plum',
      tags: ['a', 'token=plum'],
      price: '4111111111111111',
      anything: { pwd: 'plum', n: [1.5] },
    };
    const { value, passed } = bySchema.redactArguments('change', { node });
    const clean = {
      note: `password=${markOf('plum')}`,
      tags: ['a', `token=${markOf('plum')}`],
      price: '4111111111111111',
    };
    expect(value).toEqual({ node: { ...clean, anything: { pwd: markOf('plum'), n: ['1.5'] } } });
    expect(passed).toEqual({ node: { ...clean, anything: { pwd: markOf('plum'), n: ['1.5'] } } });
  });

  test('what holds no secret is passed as the very object that came', () => {
    const args = { node: { note: 'nothing', price: '1' } };
    const { value, rules, passed } = bySchema.redactArguments('change', args);
    expect([value === args, passed === args, rules]).toEqual([true, true, []]);
  });

  test('two root fields of one name are refused: their calls could not be told apart', () => {
    const twice = buildSchema('type Query { same: Int } type Mutation { same: Int }');
    expect(() => new Redactor(key, { schema: twice })).toThrow();
  });
});

describe('the rules for texts', () => {
  test('find a secret of every shape, as it is, percent-encoded, in JSON and in JSON inside JSON', () => {
    for (let round = 0; round < 10; round += 1) {
      for (const secret of drawSecrets()) {
        const inJson = JSON.stringify({ note: secret.text });
        const texts = [
          secret.text,
          `/path/${encodeURIComponent(secret.text)}`,
          encodeURIComponent(encodeURIComponent(secret.text)),
          inJson,
          JSON.stringify({ body: inJson }),
          `before ${secret.text}\nafter it`,
        ];
        for (const text of texts) {
          const rules: string[] = [];
          const redacted = redactor.redactText(text, (rule) => rules.push(rule));
          expect({ text, redacted, leaked: secretsIn(redacted, [secret]) }).toEqual({ text, redacted, leaked: [] });
          expect(rules.length).toBeGreaterThan(0);
          expect(redacted).toContain('[redacted ');
          // Redacting again changes nothing, so that marks stay comparable.
          expect(redactor.redactText(redacted)).toBe(redacted);
          expect(secretsIn(withoutSecrets(text), [secret])).toEqual([]);
        }
      }
    }
  });

  test('the same secret has the same mark in every form', () => {
    const texts = [
      'DB_PASSWORD=plum8',
      '{"password":"plum8"}',
      "password: 'plum8'",
      '?pwd=plum8&x=1',
      '--password plum8',
      "PASSWORD 'plum8'",
      'password%3Dplum8',
      String.raw`{\"password\":\"plum8\"}`,
      '<password>plum8</password>',
      'Bearer plum8plum8',
    ];
    const marks = texts.map((text) => /\[redacted [0-9a-f]{32}\]/.exec(redactor.redactText(text))?.[0]);
    expect(marks).toEqual([...Array<string>(9).fill(markOf('plum8')), markOf('plum8plum8')]);
    expect(redactor.redact({ password: 'plum8' }).value).toEqual({ password: markOf('plum8') });
    expect(new Redactor(Buffer.alloc(32, 8)).mark('plum8')).not.toBe(markOf('plum8'));
  });

  test.each([
    'Basic indicators confirm the trend: RSI at 55, MACD above zero.',
    'The basic assumption is mean reversion; bearer securities are excluded.',
    'Tokens: BTC, ETH. Token: ETH is strong.',
    'Risk-adjusted-returns of 2024 beat sk-learn by 3.',
    'At 1700000000000 and 1700000000000000 and 1700000000000000003.',
    'A ratio of 0.4111111111111111 and 4111111111111111.50 of it.',
    'Order 7f3e1c2a-4111-4111-8111-411111111111 was filled.',
    'Commit 3f786850e387550fdab836ed7e6dc881de23001b fixed it.',
    'Passed: 12 of 12; compass north; bypassing; a passenger.',
    'The key levels are 100 and 120; a pin bar at 1.0850, spin: 3.',
    '/signals?page=2&limit=50 at http://127.0.0.1:4000/graphql',
    'https://example.org:443/@kim and kim@example.org at 10:30',
    '2026-11-20T08:30:00.000000Z, 100% of 12.5 % on %AAPL',
    'ListSignalsForDashboardWithFilterVersion2',
    '[redacted 0123456789abcdef0123456789abcdef]',
  ])('leave alone: %s', (text) => {
    const rules: string[] = [];
    expect([redactor.redactText(text, (rule) => rules.push(rule)), rules]).toEqual([text, []]);
  });

  test('look into members by name, pairs of name and value, keys, nested objects, lists and numbers', () => {
    const card = 4111111111111111;
    const { value, rules } = redactor.redact({
      password: { old: 'plum', new: ['plum'] },
      userPin: 1234,
      hasToken: true,
      secret: null,
      headers: [{ name: 'X-Api-Key', value: 'plum' }],
      env: [['DB_PASSWORD', 'plum']],
      'sk-plumplumplumplum1': 1,
      list: ['-----BEGIN PRIVATE KEY-----', 'plum', '-----END PRIVATE KEY-----', 'after'],
      card,
      configType: 'api-keys',
      oldValue: 'plum',
      idempotencyKey: 'order-7',
    });
    expect(JSON.stringify(value)).not.toContain('plum');
    expect(value).toMatchObject({
      userPin: markOf('1234'),
      hasToken: true,
      secret: null,
      headers: [{ name: 'X-Api-Key', value: markOf('plum') }],
      card: markOf(String(card)),
      oldValue: markOf('plum'),
      idempotencyKey: 'order-7',
    });
    expect(rules.map((rule) => rule.split(' ')[0])).toEqual([
      'secret-name',
      'secret-name',
      'secret-pair',
      'secret-pair',
      'vendor-key',
      'pem-private-key',
      'pem-private-key',
      'pem-private-key',
      'card-number',
      'secret-config',
    ]);
    expect(rules.join()).not.toContain('plum');
  });
});

describe('the rules in force', () => {
  test('can be added to, and no setting switches redaction off', () => {
    expect(environmentNames.filter((name) => /REDACT|SECRET|MASK/.test(name))).toEqual([
      'DAYBOOK_REDACTION_RULES_FILE',
    ]);
    for (const text of ['', '# nothing\n']) expect(redactionRules(parseRedactionRules(text))).toEqual(redactionRules());
  });

  test('have a hash over their names and patterns, which an added rule changes', () => {
    const rules = redactionRules();
    expect(rules.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(redactionRules().hash).toBe(rules.hash);
    const added = redactionRules(parseRedactionRules('desk-key=DESK-[0-9]{8}'));
    expect(added.hash).not.toBe(rules.hash);
    expect(redactionRules(parseRedactionRules('desk-key=DESK-[0-9]{9}')).hash).not.toBe(added.hash);
    expect(added.described.map(({ name }) => name)).toEqual([...rules.described.map(({ name }) => name), 'desk-key']);
    expect(new Set(added.described.map(({ name }) => name)).size).toBe(added.described.length);
  });

  test('an added rule finds what no other does, in texts without any other sign', () => {
    const desk = new Redactor(key, {
      rules: redactionRules(parseRedactionRules('# ours\n\ndesk-key=DESK-[0-9]{8}\n')),
    });
    const rules: string[] = [];
    expect(desk.redactText('see DESK-12345678', (rule) => rules.push(rule))).toBe(`see ${markOf('DESK-12345678')}`);
    expect(desk.redactText('password=plum')).toBe(`password=${markOf('plum')}`);
    expect(rules).toEqual(['desk-key']);
  });

  test.each([
    ['assignment=never', 'replaces a rule'],
    ['sensitive=never', 'replaces the marks'],
    ['a=b\na=c', 'names one twice'],
    ['no pattern', 'is no rule'],
    ['Upper=x', 'has a name of another form'],
    ['empty=', 'is empty'],
    ['broken=[a', 'is no regular expression'],
    [Array.from({ length: 51 }, (_, place) => `rule-${place}=x${place}`).join('\n'), 'has too many'],
  ])('a file is refused that says %j: it %s', (text) => {
    expect(() => parseRedactionRules(text)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  test.each([
    ['(a+)+$', 'a repetition inside a repetition'],
    ['(?:a|a){1,30}x', 'a repeated group'],
    ['a*b', 'an endless repetition'],
    ['a+', 'an endless repetition'],
    ['(a)\\1', 'a back-reference'],
    ['(?=a)a', 'a look-around'],
    ['(?<n>a)', 'a named group'],
    ['[a-z]{1,200}[a-z]{1,200}x', 'too many ways'],
    ['(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)x', 'too many ways'],
    ['[a-z]{1,500}[a-z]{500}', 'too many steps'],
    ['a{2}{3}', 'a repetition of a repetition'],
    ['a??', 'a repetition of a repetition'],
    ['a{0,600}', 'a long repetition'],
    ['a?', 'matches nothing'],
    ['x{3,2}', 'a repetition backwards'],
    ['(?:a', 'an open group'],
    ['a)', 'a group that never began'],
    ['\\k<n>', 'an escape that is not taken'],
    ['a'.repeat(501), 'a long pattern'],
  ])('the pattern %s is refused for %s', (source) => {
    expect(() => compileBoundedPattern(source)).toThrow(expect.objectContaining({ name: 'PatternFault' }));
  });

  test.each([
    'DESK-[0-9]{8}',
    '(?:acme|corp)[-_][A-Za-z0-9]{16,64}',
    'a{0,512}b',
    '\\bX-[\\w\\]^-]{4,40}\\b',
    'é?ü{2}[^\\s]',
  ])('the pattern %s is taken, and is fast on texts made against it', (source) => {
    const pattern = compileBoundedPattern(source);
    for (const piece of ['a', 'DESK-1', 'acme-', 'X-a', 'aé', 'ü']) {
      const startedMs = performance.now();
      piece.repeat(65_536 / piece.length).replace(pattern, '');
      expect(performance.now() - startedMs).toBeLessThan(3_000);
    }
  });
});
