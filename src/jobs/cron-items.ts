import type { ParsedCronItem } from 'graphile-worker';
import { loadGraphileWorker } from '../db/job-queue.js';
import type { Job } from './job.js';

const minuteMs = 60_000;
/** Five weeks, which hold every pattern of minutes, hours and days of the week. */
const spanMinutes = 5 * 7 * 1_440;
const spanStartMs = Date.UTC(2024, 0, 1);
/** A run that came due longer ago is not made up for. */
const catchUpMaxMs = 7 * 86_400_000;

/**
 * When `job` runs by itself, in UTC: one item, or none. Each due time is taken up by one node. Due runs that wait are one
 * run, under a key that no `jobKey` of a caller equals; so is the last one that came due while no node was up. Throws for
 * a cron that cannot be read.
 */
export function cronItemsOf(job: Job): ParsedCronItem[] {
  if (job.cron === null) return [];
  const [item] = loadGraphileWorker().parseCronItems([
    {
      task: job.name,
      identifier: job.name,
      match: job.cron,
      options: {
        queueName: job.name,
        maxAttempts: job.attemptsMax,
        jobKey: `${job.name}/cron`,
        jobKeyMode: 'replace',
        backfillPeriod: 0,
      },
    },
  ]);
  return [{ ...item!, options: { ...item!.options, backfillPeriod: longestPauseMs(item!) } }];
}

/** Looking back this far finds the last due time, and of an evenly spaced cron no other. Milliseconds. */
function longestPauseMs(item: ParsedCronItem): number {
  let longest = 0;
  let dueBefore = -1;
  for (let minute = 0; minute < spanMinutes; minute += 1) {
    if (!item.match(digestOf(new Date(spanStartMs + minute * minuteMs)))) continue;
    if (dueBefore >= 0) longest = Math.max(longest, minute - dueBefore);
    dueBefore = minute;
  }
  return longest === 0 ? catchUpMaxMs : Math.min(longest * minuteMs, catchUpMaxMs);
}

function digestOf(time: Date): Parameters<ParsedCronItem['match']>[0] {
  return {
    min: time.getUTCMinutes(),
    hour: time.getUTCHours(),
    date: time.getUTCDate(),
    month: time.getUTCMonth() + 1,
    dow: time.getUTCDay(),
  };
}
