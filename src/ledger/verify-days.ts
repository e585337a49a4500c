const dayMs = 86_400_000;

/** Sorts behind every time that has a year of four digits. */
const endOfTime = '~';

/** The first entry that was recorded on or after a UTC date. */
export interface DayStart {
  /** `2026-11-20`. */
  readonly date: string;
  readonly index: number;
}

/** Notes where the recording times of rows, handed in by ascending index, pass from one UTC day to the next. */
export class DayStarts {
  readonly #found: DayStart[] = [];
  /** First moment of the next day, in the form of recording times, which sort as text. */
  #nextDay = '';

  /** `before`: recording time of the row before the first one. */
  constructor(before?: string) {
    if (before !== undefined) this.#nextDay = dateAfter(before.slice(0, 10));
  }

  get found(): readonly DayStart[] {
    return this.#found;
  }

  take(index: number, recordedAt: string): void {
    if (recordedAt < this.#nextDay || !/^\d{4}-\d{2}-\d{2}T/.test(recordedAt)) return;
    const date = recordedAt.slice(0, 10);
    this.#found.push({ date, index });
    this.#nextDay = dateAfter(date);
  }
}

/** The UTC date one day later. For what is no date, or the last one of the calendar, text that sorts behind all times. */
export function dateAfter(date: string): string {
  const startMs = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(startMs) || date >= '9999-12-31') return endOfTime;
  return new Date(startMs + dayMs).toISOString().slice(0, 10);
}

/** Of days in order of index: entries recorded before midnight after `date`; `total` where none came later. */
export function entriesUntil(date: string, days: readonly DayStart[], total: number): number {
  let [low, high] = [0, days.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((days[middle]?.date ?? endOfTime) > date) high = middle;
    else low = middle + 1;
  }
  return days[low]?.index ?? total;
}
