import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { pino } from 'pino';
import { encodeCanonicalJson } from '../../src/core/canonical-json.js';
import { addCalendarYears, formatTimestamp, millisecondsBetween, parseTimestamp } from '../../src/core/timestamp.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { readVectors } from '../support/read-vectors.js';
import { sampleEntry, sampleSignal } from '../support/sample-entries.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let writer: LedgerWriter;
let session: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  writer = new LedgerWriter({
    url: database.urls.application,
    queueRowsMax: 10_000,
    log: pino({ level: 'silent' }),
  });
  session = await openSession(database.urls.application);
});

afterAll(async () => {
  await writer[Symbol.asyncDispose]();
  await expectLedgerIntact(database.urls.auditor);
  await session[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const hostileTexts = [
  Array.from({ length: 31 }, (_, place) => String.fromCharCode(place + 1)).join(''),
  '\u007f\u0080\u0085\u00a0\u00ad',
  '\u2028\u2029\u200b\u202e\ufeff\ufffd\uffff',
  '"quotes" \'and\' \\backslashes\\ \\u0041 \\n',
  '😀👩‍👩‍👧‍👦🏳️‍🌈 \u{10ffff}',
  'é vs e\u0301, ß, İ, ı',
  '{"a":1}',
  '%s $1 ${x} {{table}}',
  ' spaces around ',
];
const text = fc.oneof(
  fc.constantFrom(...hostileTexts),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).map((value) => value.replaceAll('\0', '?')),
);
const decimal = fc
  .bigInt({ min: 1n, max: 10n ** 36n - 1n })
  .map((units) => units.toString().padStart(19, '0'))
  .map((digits) => `${digits.slice(0, -18)}.${digits.slice(-18)}`.replace(/\.?0+$/, ''));
const moment = fc
  .bigInt({ min: parseTimestamp('0001-01-01T00:00:00Z')!, max: parseTimestamp('2026-11-20T00:00:00Z')! })
  .map(formatTimestamp);
const json = fc.dictionary(
  text,
  fc.oneof(text, fc.maxSafeInteger(), fc.array(fc.oneof(text, fc.constant(null), fc.boolean()), { maxLength: 3 })),
  { maxKeys: 5 },
);

/** The body without what the database adds. */
function parseBody(body: string | undefined): Record<string, unknown> {
  return JSON.parse(body ?? '') as Record<string, unknown>;
}

describe('the database and the service write the same bytes', () => {
  test('for signals of hostile texts, long decimals and extreme times', async () => {
    const samples = fc.sample(
      fc.record({
        rationale: text.map((value) => `${value} and at least twenty characters`),
        strategy: fc.option(text.map((value) => value.slice(0, 100).toWellFormed())),
        producer: text,
        sessionId: text,
        requestId: text,
        entryPrice: decimal,
        targetPrice: fc.option(decimal),
        confidence: fc.nat(1_000_000).map((millionths) => String(millionths / 1_000_000)),
        generatedAt: moment,
      }),
      { numRuns: 300, seed: 4711 },
    );
    const { signals } = await writer.append({
      signals: samples.map((sample, place) =>
        sampleSignal(`sample-${place}`, {
          ...sample,
          confidence: Number(sample.confidence)
            .toFixed(6)
            .replace(/\.?0+$/, ''),
        }),
      ),
    });
    signals.forEach((row, place) => {
      const sample = samples[place]!;
      expect(row.body).toBe(encodeCanonicalJson(parseBody(row.body)));
      expect(parseBody(row.body)).toMatchObject(
        Object.fromEntries(
          Object.entries({ ...sample, confidence: row.confidence }).filter(([, value]) => value !== null),
        ),
      );
      expect(row.generationLatencyMs).toBe(millisecondsBetween(sample.generatedAt, row.serverTimestamp));
      expect(row.retentionExpiresAt).toBe(addCalendarYears(row.serverTimestamp, 7));
    });
  });

  test('for entries with hostile details, given by the service and by plain SQL', async () => {
    const samples = fc.sample(fc.record({ details: json, oldData: fc.option(json), resource: text, userAgent: text }), {
      numRuns: 200,
      seed: 4712,
    });
    const canonical = (value: object | null) => (value === null ? null : encodeCanonicalJson(value));
    const { entries } = await writer.append({
      entries: samples.map((sample) =>
        sampleEntry('x', {
          ...sample,
          details: encodeCanonicalJson(sample.details),
          oldData: canonical(sample.oldData),
        }),
      ),
    });
    for (const [place, sample] of samples.entries()) {
      // Other white space, key order and escapes than the canonical form has.
      const loose = (value: object | null) =>
        value === null
          ? null
          : JSON.stringify(Object.fromEntries(Object.entries(value).reverse()), null, 2).replaceAll(
              /[\u0080-\uffff]/g,
              (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
            );
      const [row] = await session.run(
        `INSERT INTO public.audit_entries (category, event, details, old_data) VALUES ('ORDER', 'OrderAccepted', $1, $2)
         RETURNING details::text AS details, old_data::text AS "oldData", body`,
        [loose(sample.details), loose(sample.oldData)],
      );
      expect(row).toMatchObject({ details: entries[place]?.details, oldData: entries[place]?.oldData });
      for (const body of [row?.body as string, entries[place]?.body]) {
        expect(body).toBe(encodeCanonicalJson(parseBody(body)));
      }
    }
  });

  test('for every canonical vector, as details given by plain SQL', async () => {
    for (const [, vector] of readVectors<{ text: string; canonical: string }>('canonical-json', 'valid')) {
      const stored = await session.value(`SELECT daybook.canonical_json($1::json)`, [vector.text]);
      expect(stored).toBe(vector.canonical);
    }
  });

  test('and refuse the same JSON, but for nesting, which has no bound in the database', async () => {
    for (const [name, vector] of readVectors<{ text: string }>('canonical-json', 'invalid')) {
      if (name === 'nested too deep') continue;
      expect(() => encodeCanonicalJson(JSON.parse(vector.text))).toThrow();
      const error = await session.failure(`SELECT daybook.canonical_json($1::json)`, [vector.text]);
      expect(error.code).toMatch(/^22/);
    }
  });
});

describe('the settings of a session change no byte', () => {
  const settings = [
    `TimeZone = 'America/New_York'`,
    `TimeZone = 'Asia/Kathmandu'`,
    `TimeZone = 'Pacific/Apia'`,
    `DateStyle = 'SQL, DMY'`,
    `DateStyle = 'German'`,
    `IntervalStyle = 'iso_8601'`,
    `extra_float_digits = -15`,
    `bytea_output = 'escape'`,
    `search_path = pg_temp, daybook, public`,
    `quote_all_identifiers = on`,
    `standard_conforming_strings = off`,
    `client_encoding = 'LATIN1'`,
    `array_nulls = off`,
    `transform_null_equals = on`,
    `lc_numeric = 'C'`,
    `jit = off`,
    `plpgsql.variable_conflict = 'use_column'`,
  ];

  test.each(settings)('%s', async (setting) => {
    await using odd = await openSession(database.urls.application, `SET ${setting}`);
    const insert = `INSERT INTO public.signals (symbol, action, entry_price, target_price, confidence, rationale, producer,
        session_id, input_hash, generated_at)
      VALUES ('BTC-USD', 'BUY', 1234567.100, 0.000000000000000001, 0.30, 'The settings of a session change nothing', 'desk',
        'session', decode('00ff27', 'hex'), '2024-02-29 23:30:00.000001+00')
      RETURNING body, server_timestamp = (body::jsonb ->> 'serverTimestamp')::timestamptz AS same,
        retention_expires_at = (server_timestamp AT TIME ZONE 'UTC' + interval '7 years') AT TIME ZONE 'UTC' AS kept`;
    const [usual] = await session.run(insert);
    const [row] = await odd.run(insert);
    const comparable = (body: unknown) => ({ ...parseBody(body as string), serverTimestamp: '', signalId: '' });
    expect(row).toMatchObject({ same: true, kept: true });
    expect(comparable(row?.body)).toEqual(comparable(usual?.body));
    expect(parseBody(row?.body as string)).toMatchObject({
      entryPrice: '1234567.1',
      targetPrice: '0.000000000000000001',
      inputHash: '00ff27',
      generatedAt: '2024-02-29T23:30:00.000001Z',
    });
  });

  test('nor do functions and operators that a caller puts in front of the system’s', async () => {
    await using odd = await openSession(
      database.urls.application,
      `CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT '\\x00'::bytea $$;
       CREATE FUNCTION pg_temp.trim_scale(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT 0::numeric $$;
       SET search_path = pg_temp, pg_catalog, public`,
    );
    const [row] = await odd.run(`INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale)
      VALUES ('BTC-USD', 'BUY', 2.50, 1, 'Functions of the same name stand in for nothing')
      RETURNING body, octet_length(verification_hash) AS bytes`);
    expect(row?.bytes).toBe(32);
    expect(parseBody(row?.body as string)).toMatchObject({ entryPrice: '2.5' });
  });
});
