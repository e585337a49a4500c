/** Times of day as `HH:MM`, on days from 1 (Monday) to 7; where `to` is not after `from` it is over midnight. */
interface TimeRange {
  readonly days: readonly number[];
  readonly from: string;
  readonly to: string;
}

/**
 * When a schedule may change something. Without `open` at any time but in `blackouts`, such as hours of trading. Times are those
 * of clocks in `timeZone`.
 */
export interface ChangeWindow {
  /** IANA name; UTC where it is absent. */
  readonly timeZone?: string;
  readonly open?: readonly TimeRange[];
  readonly blackouts?: readonly TimeRange[];
}

const rangesMax = 50;

/** Throws SyntaxError whose message completes "window …". */
export function parseChangeWindow(value: unknown): ChangeWindow {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SyntaxError('must be an object');
  const { timeZone, open, blackouts, ...unknown } = value as Record<string, unknown>;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw new SyntaxError(`has timeZone, open and blackouts, not ${stranger.slice(0, 50)}`);
  if (timeZone !== undefined && (typeof timeZone !== 'string' || !isTimeZone(timeZone))) {
    throw new SyntaxError('has a timeZone that is none: use an IANA name such as America/New_York');
  }
  return {
    ...(timeZone === undefined ? {} : { timeZone }),
    ...(open === undefined ? {} : { open: parseRanges('open', open) }),
    ...(blackouts === undefined ? {} : { blackouts: parseRanges('blackouts', blackouts) }),
  };
}

/** Whether the schedule may change something at this moment (milliseconds since the Unix epoch). */
export function isOpen({ timeZone = 'UTC', open, blackouts = [] }: ChangeWindow, nowMs: number): boolean {
  const moment = wallClock(timeZone, nowMs);
  if (blackouts.some((range) => contains(range, moment))) return false;
  return open === undefined || open.length === 0 || open.some((range) => contains(range, moment));
}

interface Moment {
  readonly day: number;
  /** `HH:MM`. */
  readonly time: string;
}

const dayNames = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

function wallClock(timeZone: string, nowMs: number): Moment {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const parts = Object.fromEntries(format.formatToParts(nowMs).map(({ type, value }) => [type, value]));
  return { day: dayNames.indexOf(parts.weekday ?? '') + 1, time: `${parts.hour}:${parts.minute}` };
}

function contains({ days, from, to }: TimeRange, { day, time }: Moment): boolean {
  if (from < to) return days.includes(day) && time >= from && time < to;
  const dayBefore = day === 1 ? 7 : day - 1;
  return (days.includes(day) && time >= from) || (days.includes(dayBefore) && time < to);
}

function parseRanges(name: string, value: unknown): TimeRange[] {
  if (!Array.isArray(value) || value.length > rangesMax) throw new SyntaxError(`has ${name} that is no list of ranges`);
  return value.map((range: unknown) => {
    const { days, from, to } = (range ?? {}) as Record<string, unknown>;
    const isDays =
      Array.isArray(days) && days.length > 0 && days.every((day) => [1, 2, 3, 4, 5, 6, 7].includes(day as number));
    if (!isDays || !isTime(from) || !isTime(to)) {
      throw new SyntaxError(`has a range in ${name} without days (1 for Monday to 7), from and to (HH:MM)`);
    }
    return { days: days as number[], from, to };
  });
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && /^([01]\d|2[0-3]):[0-5]\d$/.test(value);
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    // RangeError: no such zone.
    return false;
  }
}
