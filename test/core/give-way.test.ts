import { expect, test } from '@jest/globals';
import { giveWayToRecording } from '../../src/sinks/give-way.js';
import { waitUntil } from '../support/wait-until.js';

const signal = new AbortController().signal;

/** A writer that takes this many rows each ten milliseconds. */
function writerOf(rowsEachTime: number) {
  const writer = { takenRows: 0, rowsEachTime };
  const timer = setInterval(() => (writer.takenRows += writer.rowsEachTime), 10);
  return { writer, [Symbol.dispose]: () => clearInterval(timer) };
}

/** Resolves when the writer has been at work for so long that its rate is known. */
async function atWork(writer: { takenRows: number }) {
  const before = writer.takenRows;
  await waitUntil('the writer has taken rows for a while', () => writer.takenRows - before > 40 * 20);
}

test('a sink does not wait beside a writer with little to do, nor for one that rests', async () => {
  using little = writerOf(1);
  const startedMs = performance.now();
  await giveWayToRecording(little.writer)(startedMs, signal);
  await giveWayToRecording({ takenRows: 1_000_000 })(startedMs, signal);
  expect(performance.now() - startedMs).toBeLessThan(90);
});

test('a sink waits for the end of a burst, and is called off by its signal', async () => {
  using busy = writerOf(40);
  const giveWay = giveWayToRecording(busy.writer);
  await atWork(busy.writer);
  let isOver = false;
  const waiting = giveWay(performance.now(), signal).then(() => (isOver = true));
  await atWork(busy.writer);
  expect(isOver).toBe(false);
  const closing = new AbortController();
  const calledOff = giveWay(performance.now(), closing.signal);
  closing.abort();
  await calledOff;
  expect(isOver).toBe(false);
  busy.writer.rowsEachTime = 0;
  await waiting;
});

test('a sink that has been behind for five seconds delivers beside a burst', async () => {
  using busy = writerOf(40);
  const giveWay = giveWayToRecording(busy.writer);
  await atWork(busy.writer);
  const caughtUpMs = performance.now() - 4_600;
  await giveWay(caughtUpMs, signal);
  expect(performance.now() - caughtUpMs).toBeGreaterThanOrEqual(5_000);
  expect(busy.writer.rowsEachTime).toBe(40);
});
