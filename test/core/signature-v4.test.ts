import { expect, test } from '@jest/globals';
import { findSignatureFault, type SignedRequest } from '../support/signature-v4.js';

/** The worked example of AWS's General Reference, "Signature Version 4 signing process". */
const example: SignedRequest = {
  method: 'GET',
  target: '/?Action=ListUsers&Version=2010-05-08',
  headers: {
    authorization:
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
    'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
    host: 'iam.amazonaws.com',
    'x-amz-date': '20150830T123600Z',
  },
  body: new Uint8Array(),
};
const scope = {
  region: 'us-east-1',
  service: 'iam',
  secretOf: (id: string) => (id === 'AKIDEXAMPLE' ? 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' : undefined),
  nowMs: Date.parse('2015-08-30T12:40:00Z'),
};
const without = (name: string) => ({ ...example, headers: { ...example.headers, [name]: undefined } });
const withHeader = (name: string, value: string) => ({ ...example, headers: { ...example.headers, [name]: value } });

test("the check of signatures accepts AWS's own worked example", () => {
  expect(findSignatureFault(example, scope)).toBeNull();
});

test.each([
  ['no signature', without('authorization'), {}, 'MissingAuthenticationTokenException'],
  ['another form', withHeader('authorization', 'Bearer abc'), {}, 'IncompleteSignatureException'],
  ['another body', { ...example, body: Buffer.of(1) }, {}, 'InvalidSignatureException'],
  ['another target', { ...example, target: '/?Action=ListRoles&Version=2010-05-08' }, {}, 'InvalidSignatureException'],
  ['another host', withHeader('host', 'kms.amazonaws.com'), {}, 'InvalidSignatureException'],
  ['a header of AWS that is not signed', withHeader('x-amz-target', 'x'), {}, 'InvalidSignatureException'],
  ['another region', example, { region: 'eu-central-1' }, 'InvalidSignatureException'],
  ['another secret', example, { secretOf: () => 'other' }, 'InvalidSignatureException'],
  ['an unknown key', example, { secretOf: () => undefined }, 'UnrecognizedClientException'],
  ['an old date', example, { nowMs: Date.parse('2015-08-30T12:52:00Z') }, 'InvalidSignatureException'],
])('with %s it is refused', (_case, request, changes, code) => {
  expect(findSignatureFault(request, { ...scope, ...changes })?.code).toBe(code);
});
