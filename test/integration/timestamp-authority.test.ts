import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeTimestampRequest, requestTimestamp } from '../../src/anchors/timestamp-authority.js';
import { verifyTimestamp } from '../../src/anchors/verify-timestamp.js';
import { findFreePort } from '../support/test-server.js';
import {
  createTimestampIssuer,
  encodeDer,
  encodeTimestampInfo,
  type IssuerOptions,
  type TimestampIssuer,
} from '../support/timestamp-issuer.js';
import { startTimestampServer, type TimestampLie, type TimestampServer } from '../support/timestamp-server.js';
import { waitUntil } from '../support/wait-until.js';

const digest = new Uint8Array(createHash('sha256').update('the text of a note\n').digest());
const nonce = 0x7f3a_9b1c_04d2_e6f1n;
const query = encodeTimestampRequest(digest, nonce);
const now = () => new Date().toISOString().replaceAll(/[-:T]|\.\d+/g, '');

let issuer: TimestampIssuer;
let server: TimestampServer;
let stranger: TimestampIssuer;

beforeAll(async () => {
  [issuer, stranger] = await Promise.all([createTimestampIssuer(), createTimestampIssuer()]);
  server = await startTimestampServer(issuer);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await Promise.all([issuer[Symbol.asyncDispose](), stranger[Symbol.asyncDispose]()]);
});

function request(changes: Partial<Parameters<typeof requestTimestamp>[0]> = {}) {
  return requestTimestamp({ url: server.url, digest, nonce, trustedCertificates: [issuer.root], ...changes });
}

function verify(response: Uint8Array, from: TimestampIssuer = issuer, changes: { nonce?: bigint | null } = {}) {
  return verifyTimestamp({ response, digest, nonce, trustedCertificates: [from.root], ...changes });
}

/** Runs `check` with an issuer that differs in `options`. */
async function withIssuer(options: IssuerOptions, check: (issuer: TimestampIssuer) => Promise<void>): Promise<void> {
  await using other = await createTimestampIssuer(options);
  await check(other);
}

function rightInfo(genTime = now()): Uint8Array {
  return encodeTimestampInfo({ digest, nonce, genTime });
}

describe('a granted timestamp', () => {
  test('is what was asked for, and openssl accepts it as well', async () => {
    const before = new Date(Date.now() - 1000).toISOString();
    const granted = await request();
    expect(granted.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(granted.time > before && granted.time < new Date(Date.now() + 1000).toISOString()).toBe(true);
    expect(granted.serial).toMatch(/^a[0-9a-f]{2}$/);
    expect(granted.authority).toBe('O=Daybook tests, CN=signer of root critical');
    expect(await issuer.accepts(query, granted.token)).toBe(true);
    const { time, serial, authority } = granted;
    expect(verify(granted.token)).toEqual({ valid: true, time, serial, authority });
    expect(server.requests.at(-1)).toEqual({ contentType: 'application/timestamp-query', body: query });
  });

  test('carries the nonce of the request, given as a number or as bytes', async () => {
    const bytes = new Uint8Array(randomBytes(8));
    const { token } = await request({ nonce: bytes });
    const asNumber = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
    expect(verify(token, issuer, { nonce: asNumber })).toMatchObject({ valid: true });
    expect(verify(token, issuer, { nonce: asNumber + 1n })).toMatchObject({ reason: 'WRONG_NONCE' });
    expect(verify(token, issuer, { nonce: null })).toMatchObject({ valid: true });
  });

  test.each([
    { key: 'rsa' },
    { key: 'p384' },
    { key: 'p256', essHash: 'sha1' },
    { certificateHash: 'sha512' },
    { chain: 'intermediate' },
    { key: 'rsa', chain: 'intermediate' },
  ] satisfies IssuerOptions[])('is accepted from an authority with %j, by openssl too', async (options) => {
    await withIssuer(options, async (other) => {
      const response = await other.reply(query);
      expect(await other.accepts(query, response)).toBe(true);
      expect(verify(response, other)).toMatchObject({ valid: true });
    });
  });

  test('is accepted with its signer pinned, and with many certificates in one text', async () => {
    const response = await issuer.reply(query);
    const withSigner = { response, digest, nonce, trustedCertificates: [issuer.signer] };
    expect(verifyTimestamp(withSigner)).toMatchObject({ valid: true });
    const bundle = { response, digest, nonce, trustedCertificates: [`${stranger.root}\n${issuer.root}`] };
    expect(verifyTimestamp(bundle)).toMatchObject({ valid: true });
  });
});

describe('an authority that lies', () => {
  const lies: [TimestampLie, string, string | undefined][] = [
    ['other-digest', 'ANCHOR_REFUSED', 'WRONG_DIGEST'],
    ['other-nonce', 'ANCHOR_REFUSED', 'WRONG_NONCE'],
    ['flipped-bit', 'ANCHOR_REFUSED', 'BAD_SIGNATURE'],
    ['rejection', 'ANCHOR_REFUSED', 'NOT_GRANTED'],
    ['garbage', 'ANCHOR_REFUSED', 'MALFORMED'],
    ['status-404', 'ANCHOR_REFUSED', undefined],
    ['huge-answer', 'ANCHOR_REFUSED', undefined],
    ['endless-answer', 'ANCHOR_REFUSED', undefined],
    ['wrong-content-type', 'ANCHOR_REFUSED', undefined],
    ['redirect', 'ANCHOR_REFUSED', undefined],
    ['status-500', 'ANCHOR_UNAVAILABLE', undefined],
    ['busy', 'ANCHOR_UNAVAILABLE', undefined],
    ['no-answer', 'ANCHOR_UNAVAILABLE', undefined],
    ['half-an-answer', 'ANCHOR_UNAVAILABLE', undefined],
  ];
  test.each(lies)('with %s is reported as %s with reason %s', async (lie, code, reason) => {
    server.lie(lie);
    const isSilent = lie === 'no-answer' || lie === 'half-an-answer';
    const error = await request(isSilent ? { timeoutMs: 300 } : {}).catch((thrown: unknown) => thrown);
    server.lie(null);
    expect(error).toMatchObject({ code, ...(reason === undefined ? {} : { details: { reason } }) });
    await expect(request()).resolves.toMatchObject({ authority: expect.stringContaining('signer') });
  });

  test('or is not there is reported as unavailable', async () => {
    const url = `http://127.0.0.1:${await findFreePort()}/`;
    await expect(request({ url })).rejects.toMatchObject({ code: 'ANCHOR_UNAVAILABLE' });
  });

  test("can be left early, with the caller's own reason", async () => {
    server.lie('no-answer');
    const sent = server.requests.length;
    const controller = new AbortController();
    const pending = request({ signal: controller.signal });
    const settled = expect(pending).rejects.toMatchObject({ reason: 'closing' });
    await waitUntil('the request arrived', () => server.requests.length > sent);
    controller.abort({ reason: 'closing' });
    await settled;
    server.lie(null);
  });
});

describe('a response in storage', () => {
  test.each(['ftp://127.0.0.1/', 'not a url', 'http://user:secret@127.0.0.1/'])(
    'is not asked for at %s',
    async (url) => {
      await expect(request({ url })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test.each(['', 'a text', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])(
    'is not judged by a trusted certificate %j',
    async (pem) => {
      await expect(request({ trustedCertificates: [pem] })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test('is refused by both with one bit flipped in any of its regions', async () => {
    const response = await issuer.reply(query);
    const bytes = Buffer.from(response);
    const content = bytes.subarray(...timestampInfoRange(bytes));
    const sha256 = (part: Uint8Array) => createHash('sha256').update(part).digest();
    const places: Record<string, number> = {
      status: bytes.indexOf(Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x00)) + 4,
      contentType: bytes.indexOf(Buffer.from('2a864886f70d010702', 'hex')) + 8,
      digest: bytes.indexOf(digest) + 5,
      genTime: bytes.indexOf(Buffer.from(now().slice(0, 8))) + 3,
      nonce: bytes.indexOf(Buffer.from(nonce.toString(16), 'hex')) + 2,
      certificate: bytes.indexOf('signer of root'),
      certificateSignature: bytes.indexOf(issuer.signerDer) + issuer.signerDer.length - 1,
      messageDigest: bytes.lastIndexOf(sha256(content)) + 9,
      signingCertificate: bytes.indexOf(sha256(issuer.signerDer)) + 9,
      signature: bytes.length - 1,
    };
    for (const [region, place] of Object.entries(places)) {
      expect([region, place > 5]).toEqual([region, true]);
      const changed = response.slice();
      changed[place]! ^= 0x02;
      expect([region, verify(changed)]).toEqual([region, expect.objectContaining({ valid: false })]);
      expect([region, await issuer.accepts(query, changed)]).toEqual([region, false]);
    }
  });

  test('is refused, or says exactly the same, with one bit flipped in its bytes', async () => {
    const response = await issuer.reply(query);
    const original = verify(response);
    let accepted = 0;
    for (let place = 0; place < response.length; place += 2) {
      const changed = response.slice();
      changed[place]! ^= 1 << ((place / 2) % 8);
      const verdict = verify(changed);
      if (verdict.valid) expect([place, verdict]).toEqual([place, original]);
      accepted += verdict.valid ? 1 : 0;
      // What openssl refuses, we refuse.
      if (verdict.valid) expect([place, await issuer.accepts(query, changed)]).toEqual([place, true]);
    }
    // Versions and parameters that nothing signs, and the case of letters in names.
    expect(accepted).toBeLessThan(20);
  });

  test('is refused when it is cut short, or longer', async () => {
    const response = await issuer.reply(query);
    for (let length = 0; length < response.length; length += 7) {
      expect(verify(response.subarray(0, length))).toMatchObject({ valid: false });
    }
    expect(verify(Uint8Array.of(...response, 0))).toMatchObject({ reason: 'MALFORMED' });
  });
});

describe('what a token says', () => {
  test('is accepted from a token built by hand, by openssl too', async () => {
    const response = await issuer.sign(rightInfo());
    expect(await issuer.accepts(query, response)).toBe(true);
    expect(verify(response)).toMatchObject({ valid: true, serial: '7' });
  });

  test.each([
    ['another version', { version: 2 }, 'MALFORMED'],
    ['another hash algorithm', { hashArc: 2 }, 'WRONG_DIGEST'],
    ['no nonce', { nonce: undefined }, 'WRONG_NONCE'],
    ['a negative serial number', { serial: 0x80 }, 'MALFORMED'],
    ['a time without zone', { genTime: '20260301120000' }, 'MALFORMED'],
    ['a day that does not exist', { genTime: '20260231120000Z' }, 'MALFORMED'],
    ['a critical extension', { criticalExtension: true }, 'MALFORMED'],
  ])('is refused with %s', async (_what, changes, reason) => {
    const content = encodeTimestampInfo({ digest, nonce, genTime: now(), ...changes });
    expect(verify(await issuer.sign(content))).toMatchObject({ valid: false, reason });
  });

  test('is refused under another content type', async () => {
    const response = await issuer.sign(rightInfo(), '1.2.840.113549.1.7.1');
    expect(verify(response)).toMatchObject({ reason: 'MALFORMED' });
    expect(await issuer.accepts(query, response)).toBe(false);
  });

  test('keeps microseconds of its time, and loses finer digits', async () => {
    const genTime = `${now().slice(0, 14)}.1234569Z`;
    const verdict = verify(await issuer.sign(rightInfo(genTime)));
    expect(verdict).toMatchObject({ valid: true, time: expect.stringMatching(/\.123456Z$/) });
  });

  test('is refused without a token, and with a status that grants nothing', async () => {
    const status = (value: number) => encodeDer(0x30, encodeDer(0x30, Uint8Array.of(2, 1, value)));
    expect(verify(status(0))).toMatchObject({ reason: 'MALFORMED' });
    for (const value of [2, 3, 4, 5]) expect(verify(status(value))).toMatchObject({ reason: 'NOT_GRANTED' });
  });
});

describe('the certificates of a token', () => {
  test('must lead to a trusted one', async () => {
    // Its certificates have the same names.
    const response = await stranger.reply(query);
    expect(verify(response)).toMatchObject({ reason: 'UNTRUSTED' });
    expect(await issuer.accepts(query, response)).toBe(false);
    expect(verifyTimestamp({ response, digest, nonce, trustedCertificates: [] })).toMatchObject({
      reason: 'UNTRUSTED',
    });
  });

  test.each([
    [{ purpose: 'not-critical' }, 'WRONG_KEY_USAGE'],
    [{ purpose: 'with-code-signing' }, 'WRONG_KEY_USAGE'],
    [{ purpose: 'none' }, 'WRONG_KEY_USAGE'],
    [{ chain: 'limited' }, 'UNTRUSTED'],
    [{ chain: 'no-ca' }, 'UNTRUSTED'],
    [{ chain: 'no-signing' }, 'UNTRUSTED'],
    [{ purpose: 'unknown-extension' }, 'UNTRUSTED'],
  ] satisfies [IssuerOptions, string][])('are refused of %j by both', async (options, reason) => {
    await withIssuer(options, async (other) => {
      const response = await other.sign(rightInfo());
      expect(verify(response, other)).toMatchObject({ valid: false, reason });
      expect(await other.accepts(query, response)).toBe(false);
    });
  });

  test.each([
    [{ key: 'rsa-1024' }, 'UNSUPPORTED_ALGORITHM'],
    [{ certificateHash: 'sha1' }, 'UNSUPPORTED_ALGORITHM'],
    [{ chain: 'other-purpose' }, 'UNTRUSTED'],
  ] satisfies [IssuerOptions, string][])('are refused of %j, which openssl may let pass', async (options, reason) => {
    await withIssuer(options, async (other) => {
      expect(verify(await other.sign(rightInfo()), other)).toMatchObject({ valid: false, reason });
    });
  });

  test('count at the time of the token, all of them', async () => {
    const signerYear = { signerFrom: '20200101000000Z', signerUntil: '20201231235959Z' };
    await withIssuer({ ...signerYear, rootFrom: '20190101000000Z' }, async (other) => {
      for (const [genTime, second, valid] of [
        ['20191231235959Z', '2019-12-31T23:59:59Z', false],
        ['20200101000000Z', '2020-01-01T00:00:00Z', true],
        ['20201231235958Z', '2020-12-31T23:59:58Z', true],
        ['20201231235959.5Z', '2021-01-01T00:00:00Z', false],
        ['20210101000000Z', '2021-01-01T00:00:00Z', false],
      ] as const) {
        const response = await other.sign(rightInfo(genTime));
        const verdict = verify(response, other);
        expect([genTime, verdict.valid || verdict.reason]).toEqual([genTime, valid || 'CERTIFICATE_EXPIRED']);
        expect([genTime, await other.accepts(query, response, Date.parse(second) / 1000)]).toEqual([genTime, valid]);
      }
    });
    // The root is of today here.
    await withIssuer(signerYear, async (other) => {
      const response = await other.sign(rightInfo('20200601000000Z'));
      expect(verify(response, other)).toMatchObject({ reason: 'CERTIFICATE_EXPIRED' });
    });
  });

  test('may expire after the token was made', async () => {
    const until = new Date(Date.now() + 5000);
    const signerUntil = until.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
    await withIssuer({ signerUntil }, async (other) => {
      const response = await other.reply(query);
      const madeAt = Math.floor(Date.now() / 1000);
      await waitUntil('the certificate expired', () => Date.now() > until.getTime() + 1000);
      expect(await other.accepts(query, response)).toBe(false);
      expect(await other.accepts(query, response, madeAt)).toBe(true);
      expect(verify(response, other)).toMatchObject({ valid: true });
      expect(verify(await other.sign(rightInfo()), other)).toMatchObject({ reason: 'CERTIFICATE_EXPIRED' });
    });
  });

  test('cannot be exchanged for another of the same name, number and key', async () => {
    const response = await issuer.reply(query);
    // Signatures of ECDSA differ in length; the exchange must fit into the lengths around it.
    const renewed = await waitUntil('a certificate of the same length', async () => {
      const certificate = await issuer.renewSigner();
      return certificate.length === issuer.signerDer.length ? certificate : null;
    });
    const exchanged = response.slice();
    exchanged.set(renewed, Buffer.from(response).indexOf(issuer.signerDer));
    expect(verify(exchanged)).toMatchObject({ valid: false, reason: 'WRONG_SIGNER' });
    expect(await issuer.accepts(query, exchanged)).toBe(false);
  });
});

/** Begin and end of the TSTInfo within a response: the octet string behind its content type. */
function timestampInfoRange(response: Buffer): [number, number] {
  const type = response.indexOf(Buffer.from('2a864886f70d0109100104', 'hex')) + 11;
  const octets = response.indexOf(0x04, type);
  const long = response[octets + 1]! === 0x81;
  const begin = octets + (long ? 3 : 2);
  return [begin, begin + response[octets + (long ? 2 : 1)]!];
}
