import { formatDay, parseDay } from './days.js';
import { layoutFileBytesMax, type LayoutReader } from './layout-reader.js';
import { readAhead } from './read-ahead.js';

/** Where a day's root and its evidence lie. */
export const rootPaths = {
  checkpoint: (date: string) => `roots/${date}.checkpoint`,
  witnessed: (date: string) => `roots/${date}.witnessed`,
  timestamp: (date: string) => `roots/${date}.tsr`,
} as const;

/** Days looked at in one log: a hundred years. Bounds what a log with invented dates can ask for. */
const daysMax = 36_600;

/** Where a source cannot list: days without a root after which none is looked for any more. */
const daysWithoutRootMax = 7;

const probesUnderWayMax = 16;

/** Days since the Unix epoch, ascending. */
export interface FoundDays {
  readonly days: readonly number[];
  /** Whether there may be more than were looked for. */
  readonly isCapped: boolean;
}

/** Days of which anything is published below `roots/`. Throws LayoutReadError. */
export async function findRoots(
  reader: LayoutReader,
  firstDate: string | null,
  lastDate: string | null,
): Promise<FoundDays> {
  const [first, last] = [parseDay(firstDate ?? ''), parseDay(lastDate ?? '')];
  if (reader.list !== undefined) return sorted(await listDays(reader, daysMax + 1));
  if (first === null || last === null) return { days: [], isCapped: false };
  if (last - first >= daysMax) return { days: [], isCapped: true };
  return sorted(await probeDays(reader, first, last));
}

function sorted(days: ReadonlySet<number>): FoundDays {
  const ascending = [...days].sort((left, right) => left - right);
  return { days: ascending.slice(0, daysMax), isCapped: ascending.length > daysMax };
}

async function listDays(reader: LayoutReader, max: number): Promise<Set<number>> {
  const days = new Set<number>();
  for await (const path of reader.list?.('roots/') ?? []) {
    const day = parseDay(/^roots\/([^/.]+)\.(?:checkpoint|witnessed|tsr)$/.exec(path)?.[1] ?? '');
    if (day !== null) days.add(day);
    if (days.size >= max) break;
  }
  return days;
}

/**
 * Asks for each day from the first entry's to the last one's, and for those around them until there are none: the first
 * sealed day may lie before the first entry of this log, and days without entries follow the last one.
 */
async function probeDays(reader: LayoutReader, first: number, last: number): Promise<Set<number>> {
  const days = new Set<number>();
  for await (const day of probe(reader, range(first, last, 1))) if (day.isThere) days.add(day.day);
  for (const [from, step] of [
    [first - 1, -1],
    [last + 1, 1],
  ] as const) {
    let absent = 0;
    for await (const { day, isThere } of probe(reader, range(from, from + step * daysMax, step))) {
      if (isThere) days.add(day);
      absent = isThere ? 0 : absent + 1;
      if (absent >= daysWithoutRootMax) break;
    }
  }
  return days;
}

function probe(reader: LayoutReader, days: Iterable<number>): AsyncGenerator<{ day: number; isThere: boolean }> {
  return readAhead(days, probesUnderWayMax, async (day) => {
    const bytes = await reader.read(rootPaths.checkpoint(formatDay(day)));
    return { day, isThere: bytes !== null };
  });
}

function* range(from: number, to: number, step: 1 | -1): Generator<number> {
  const [lowest, highest] = [parseDay('0001-01-01') ?? 0, parseDay('9999-12-31') ?? 0];
  for (let day = from; (to - day) * step >= 0 && day >= lowest && day <= highest; day += step) yield day;
}

/** Whether a file of evidence is published, and not larger than such a file can be. */
export async function isPublished(reader: LayoutReader, path: string): Promise<boolean> {
  const bytes = await reader.read(path);
  return bytes !== null && bytes.length > 0 && bytes.length <= layoutFileBytesMax(path);
}
