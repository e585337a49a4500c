import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  AuditEntriesDocument,
  callDaybook,
  CallRefusedError,
  CreateSignalDocument,
  readPages,
  SignalsDocument,
  ViewerDocument,
  type CreateSignalInput,
} from '../../src/client/index.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

const input: CreateSignalInput = { symbol: 'ETH-USD', action: 'SELL', entryPrice: '3105.75', confidence: '0.61' };

test('the generated client records and lists with the types of the schema', async () => {
  const options = { url: service.url, apiKey: await service.makeKey('PRODUCER'), sessionId: 'typed-client' };
  const { createSignal } = await callDaybook(options, CreateSignalDocument, { input });
  expect(createSignal.signal.entryPrice).toBe('3105.75');
  const { signals } = await callDaybook(options, SignalsDocument, { filter: { symbol: { eq: 'ETH-USD' } }, last: 1 });
  expect(signals.nodes).toEqual([createSignal.signal]);
});

test('a refusal arrives as an error with its code and whether a retry may help', async () => {
  const call = callDaybook({ url: service.url, apiKey: 'unknown' }, ViewerDocument, {});
  await expect(call).rejects.toMatchObject({ code: 'UNAUTHENTICATED', retryable: false });
  await expect(call).rejects.toBeInstanceOf(CallRefusedError);
});

test('a list is read to its end although pages end before they are full', async () => {
  await using session = await openSession(service.database.urls.application);
  for (const note of ['needle', 'hay', 'hay', 'hay', 'needle']) {
    await session.run(insertEntriesSql(note === 'hay' ? 8_000 : 3, note));
  }
  const pages = readPages({
    url: service.url,
    apiKey: await service.makeKey('AUDITOR'),
    document: AuditEntriesDocument,
    variables: { filter: { text: { contains: 'needle' }, event: { eq: 'OrderAccepted' } }, first: 4 },
    connectionOf: ({ auditEntries }) => auditEntries,
  });
  const sizes: number[] = [];
  const indexes = new Set<string>();
  for await (const entries of pages) {
    sizes.push(entries.length);
    for (const { chainIndex } of entries) indexes.add(chainIndex);
  }
  expect(sizes).toEqual([3, 3]);
  expect(indexes.size).toBe(6);
});
