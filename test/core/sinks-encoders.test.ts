import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AuditRow } from '../../src/ledger/rows.js';
import { encodeCef } from '../../src/sinks/encode-cef.js';
import { encodeEcs, encodePlainEcs, readEcsIndex } from '../../src/sinks/encode-ecs.js';
import { encodeJsonlLine, readJsonlIndex } from '../../src/sinks/encode-jsonl-line.js';
import { encodeOcsf } from '../../src/sinks/encode-ocsf.js';
import { lineKey, openLine, sealDetails, sealLine } from '../../src/sinks/sealed-line.js';
import { encodeSyslogMessage, frameSyslogMessage } from '../../src/sinks/syslog-frame.js';
import { auditRow } from '../support/audit-row.js';
import { ocsfFaults } from '../support/ocsf-schema.js';
import { readVectors } from '../support/read-vectors.js';

const product = { name: 'daybook', version: '1.2.3' };
const sender = { facility: 13, hostname: 'node 1.example', appName: 'daybook', enterpriseId: 32_473 };
/** What a message of 8,192 bytes leaves for its text. */
const bytesMax = 7_680;

const encoders: Readonly<Record<string, (row: AuditRow) => string>> = {
  'jsonl-line': encodeJsonlLine,
  ecs: encodeEcs,
  'ecs-plain': encodePlainEcs,
  cef: (row) => encodeCef(row, product, bytesMax),
  ocsf: (row) => encodeOcsf(row, product, bytesMax),
  'syslog-frame': (row) => frameSyslogMessage(encodeSyslogMessage(row, 'text ü', sender)),
};

interface Vector {
  readonly row: Partial<AuditRow>;
  readonly encoded: string;
}

const vectors = (thing: string) => readVectors<Vector>(thing, 'valid');

/** Rows as hostile as the ledger's checks allow. */
const hostileRows = fc
  .record({
    event: fc.stringMatching(/^[A-Z][A-Za-z0-9]{1,63}$/),
    category: fc.constantFrom('API', 'AUTH', 'ORDER', 'ALERT', 'ADMIN'),
    action: fc.constantFrom('CREATE', 'READ', 'LOGIN', 'LOGOUT', 'EXECUTE', null),
    actor: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 })),
    resource: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1_000 })),
    userAgent: fc.option(fc.string({ unit: 'binary', minLength: 1, maxLength: 1_000 })),
    sessionId: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 })),
    ipAddress: fc.option(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())),
    outcome: fc.constantFrom('OK', 'FORBIDDEN', 'LOGIN_FAILED', 'INTERNAL'),
    details: fc
      .dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 3 }))
      .map((value) => JSON.stringify(value)),
  })
  .map((changes) => auditRow(changes));

describe.each(Object.entries(encoders))('%s', (thing, encode) => {
  test.each(vectors(thing))('%s', (_, { row, encoded }) => {
    expect(encode(auditRow(row))).toBe(encoded);
  });

  test('is one line whatever the entry holds, but for line breaks that a frame counts', () => {
    fc.assert(
      fc.property(hostileRows, (row) => {
        if (thing !== 'syslog-frame') expect(encode(row)).not.toMatch(/[\r\n]/);
      }),
    );
  });

  test('takes an entry whose details are nested deeper than it can be written', () => {
    const details = `{"deep":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    expect(encode(auditRow({ details, oldData: details, newData: details })).length).toBeLessThan(10_000);
  });
});

describe('a JSONL line', () => {
  test.each([
    ['jsonl', encodeJsonlLine, readJsonlIndex],
    ['ECS', encodeEcs, readEcsIndex],
  ])('of %s tells its index whatever the details are named, a torn one tells none', (_, encode, readIndex) => {
    fc.assert(
      fc.property(
        hostileRows,
        fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (row, index, share) => {
          const line = encode({ ...row, chainIndex: index.toString() });
          expect(readIndex(line)).toBe(index);
          expect(readIndex(line.slice(0, Math.floor(line.length * share)))).toBeNull();
        },
      ),
    );
  });

  test('loses no detail: each stands under its own name in snake case, or in details', () => {
    const details = { orderId: 'one', order_id: 'two', id: 'forged', user: 5, sourceIp: { a: 1 }, HTTPStatus: 200 };
    const line = JSON.parse(encodeJsonlLine(auditRow({ details: JSON.stringify(details) })));
    expect(line).toMatchObject({
      order_id: 'one',
      http_status: 200,
      id: auditRow().id,
      user: 'desk',
      source_ip: '127.0.0.1',
    });
    expect(line.details).toEqual({ order_id: 'two', id: 'forged', user: 5, sourceIp: { a: 1 } });
  });
});

describe('OCSF', () => {
  test.each(vectors('ocsf'))(
    '%s has what the published schema requires, and nothing it does not know',
    (_, { encoded }) => {
      expect(ocsfFaults(JSON.parse(encoded))).toEqual([]);
    },
  );

  test('so has any entry', () => {
    fc.assert(
      fc.property(hostileRows, (row) => expect(ocsfFaults(JSON.parse(encodeOcsf(row, product, bytesMax)))).toEqual([])),
    );
  });

  test('an event without a required attribute is found', () => {
    for (const [, { encoded }] of vectors('ocsf')) {
      const event = JSON.parse(encoded);
      for (const member of ['time', 'metadata', 'severity_id', 'type_uid', event.class_uid === 6003 ? 'api' : 'user']) {
        expect(ocsfFaults({ ...event, [member]: undefined })).not.toEqual([]);
      }
    }
  });
});

describe('messages', () => {
  test.each([
    ['CEF', (row: AuditRow) => encodeCef(row, product, bytesMax)],
    ['OCSF', (row: AuditRow) => encodeOcsf(row, product, bytesMax)],
  ])('of %s keep to their size', (_, encode) => {
    const wide = (characters: number) => '\u{1F4C8}'.repeat(characters);
    const largest = auditRow({
      actor: wide(200),
      resource: wide(1_000),
      userAgent: wide(1_000),
      sessionId: wide(200),
      requestId: wide(200),
      details: JSON.stringify({ message: wide(10_000), user: wide(1_000), method: 'POST' }),
    });
    expect(Buffer.byteLength(encode(largest))).toBeLessThanOrEqual(bytesMax);
  });

  test('a CEF message gives back every value', () => {
    fc.assert(
      fc.property(hostileRows, (row) => {
        const text = encodeCef(row, product, Infinity);
        const header = /^CEF:0\|(?:(?:[^\\|]|\\.)*\|){5}\d+\|/.exec(text)?.[0] ?? '';
        expect(header).not.toBe('');
        const extension = text.slice(header.length);
        const unescape = (value: string) =>
          value.replace(/\\([\\=nr])/g, (_, mark: string) => ({ n: '\n', r: '\r' })[mark] ?? mark);
        const valueOf = (key: string, next: string) =>
          new RegExp(`(?:^| )${key}=(.*?) ${next}=`, 's').exec(extension)?.[1];
        if (row.resource !== null) expect(unescape(valueOf('cs5', 'cs5Label') ?? '')).toBe(row.resource);
      }),
    );
  });

  test('a frame counts bytes, not characters', () => {
    fc.assert(
      fc.property(hostileRows, fc.string({ unit: 'grapheme' }), (row, text) => {
        const frame = Buffer.from(frameSyslogMessage(encodeSyslogMessage(row, text, sender)));
        const space = frame.indexOf(' ');
        expect(Number(frame.subarray(0, space).toString())).toBe(frame.length - space - 1);
      }),
    );
  });
});

interface Sealed {
  readonly key: string;
  readonly iv: string;
  readonly index: string;
  readonly line: string;
  readonly sealed: string;
}

describe('an encrypted line', () => {
  const keyOf = (hex: string) => lineKey(Buffer.from(hex, 'hex'));

  test.each(readVectors<Sealed>('sealed-line', 'valid'))('%s', (_, { key, iv, index, line, sealed }) => {
    expect(sealLine(line, index, keyOf(key), Buffer.from(iv, 'hex'))).toBe(sealed);
    expect(openLine(sealed, [keyOf('ff'.repeat(32)), keyOf(key)])).toBe(line);
  });

  test.each(readVectors<Sealed>('sealed-line', 'invalid'))('does not open: %s', (_, { key, sealed }) => {
    expect(openLine(sealed, [keyOf(key)])).toBeNull();
  });

  test('differs each time', () => {
    const key = keyOf('00'.repeat(32));
    expect(sealLine('line', '1', key)).not.toBe(sealLine('line', '1', key));
  });
});

describe('a line whose details are encrypted', () => {
  const key = lineKey(Buffer.alloc(32, 7));
  const sealedMembers = ['enc', 'kid', 'data'];
  const clearMembers = ['ts', 'iso_ts', 'event', 'category', 'action', 'actor', 'role', 'resource', 'outcome'];
  clearMembers.push('occurred_at', 'signal_id', 'session_id', 'request_id', 'id', 'index', 'hash');

  test('shows what happened and nothing of the details, which its key alone opens, whatever the entry holds', () => {
    fc.assert(
      fc.property(hostileRows, (row) => {
        const line = encodeJsonlLine(row);
        const sealed = sealDetails(line, key);
        expect(Object.keys(JSON.parse(sealed)).filter((name) => !clearMembers.includes(name))).toEqual(sealedMembers);
        expect(JSON.parse(sealed)).toMatchObject({ event: row.event, index: Number(row.chainIndex) });
        expect(readJsonlIndex(sealed)).toBe(BigInt(row.chainIndex));
        expect(JSON.parse(openLine(sealed, [key])!)).toEqual(JSON.parse(line));
        expect(openLine(sealed, [lineKey(Buffer.alloc(32, 8))])).toBeNull();
      }),
    );
  });

  test('does not open where anything that is readable was altered, left out or added', () => {
    const sealed = sealDetails(encodeJsonlLine(auditRow({ details: '{"quantity":"123.456"}' })), key);
    expect(sealed).not.toContain('123.456');
    const { outcome, ...others } = JSON.parse(sealed) as Record<string, unknown>;
    const altered = [
      { ...others, outcome: `${String(outcome)}!` },
      others,
      { ...others, outcome, user: 'eve' },
      { ...others, outcome, data: String(others.data).replace(/^./, (first) => (first === 'A' ? 'B' : 'A')) },
    ];
    for (const line of altered) expect(openLine(JSON.stringify(line), [key])).toBeNull();
  });
});
