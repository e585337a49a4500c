import { expect, test } from '@jest/globals';
import { decodeWebhookKey, signWebhook } from '../../src/core/webhook-signature.js';

test('the example of Standard Webhooks has the signature that its specification gives', () => {
  const key = decodeWebhookKey('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw') ?? new Uint8Array();
  const signature = signWebhook(key, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330, '{"test": 2432232314}');
  expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

test('a key of less than 16 bytes is none, however long its base64 is', () => {
  expect(decodeWebhookKey('k'.repeat(15))).toBeNull();
  expect(decodeWebhookKey('k'.repeat(16))).toHaveLength(16);
  expect(decodeWebhookKey(`whsec_${Buffer.alloc(15).toString('base64')}`)).toBeNull();
});
