import { setTimeout as delay } from 'node:timers/promises';

/** Over what time the rate of recording is taken, in milliseconds. */
const lookMs = 100;
/** At this many rows a second sinks take a tenth of a processor and more. */
const busyRowsPerSecond = 1_000;
/** So long, in milliseconds, a sink may be behind and still let recording go first. */
const behindMsMax = 5_000;

/** Returns when delivery may go on. `caughtUpMs` is when the sink last had nothing to deliver, by `performance.now()`. */
export type GiveWay = (caughtUpMs: number, signal: AbortSignal) => Promise<void>;

/**
 * Lets a burst be recorded before it is delivered: who waits for an answer goes before who reads later. A sink that has been
 * behind for five seconds waits no more until it has caught up, so that a log that keeps growing is delivered all the same.
 */
export function giveWayToRecording(writer: { readonly takenRows: number }): GiveWay {
  let [lookedMs, lookedRows, isBusy] = [performance.now(), writer.takenRows, false];
  const look = () => {
    const passedMs = performance.now() - lookedMs;
    if (passedMs < lookMs) return isBusy;
    isBusy = (writer.takenRows - lookedRows) * 1_000 >= busyRowsPerSecond * passedMs;
    [lookedMs, lookedRows] = [lookedMs + passedMs, writer.takenRows];
    return isBusy;
  };
  return async (caughtUpMs, signal) => {
    while (look() && performance.now() - caughtUpMs < behindMsMax && !signal.aborted) {
      await delay(lookMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  };
}
