/**
 * Times are RFC 3339 text in UTC with six fractional digits and `Z`, years 1–9999. They never pass through a `Date`,
 * which would drop the microseconds.
 */
const rfc3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d{2}):(\d{2}))$/;

const microsPerSecond = 1_000_000n;

/** Microseconds since the Unix epoch of a canonical or RFC 3339 time; null when it is malformed or out of range. */
export function parseTimestamp(text: string): bigint | null {
  const match = rfc3339.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second] = match.map(Number) as [number, ...number[]];
  const fraction = match[7] ?? '';
  if (year === undefined || month === undefined || day === undefined) return null;
  if (hour === undefined || minute === undefined || second === undefined) return null;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null;
  if (hour > 23 || minute > 59 || second > 59) return null;
  // Digits past the microsecond would be lost silently, so they must be zero.
  if (/[^0]/.test(fraction.slice(6))) return null;
  const offsetMinutes = match[8] === undefined ? signedOffset(match[9], match[10], match[11]) : 0;
  if (offsetMinutes === null) return null;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const seconds = BigInt(date.getTime() / 1000) + BigInt(hour * 3600 + minute * 60 + second - offsetMinutes * 60);
  const micros = seconds * microsPerSecond + BigInt(fraction.slice(0, 6).padEnd(6, '0'));
  return micros >= firstMoment && micros <= lastMoment ? micros : null;
}

/** The canonical text of a moment given in milliseconds since the Unix epoch, as clocks tell it. */
export function timestampFromMs(milliseconds: number): string {
  return formatTimestamp(BigInt(Math.floor(milliseconds)) * 1000n);
}

/** The canonical text of a moment given in microseconds since the Unix epoch. */
export function formatTimestamp(micros: bigint): string {
  const seconds = micros >= 0n ? micros / microsPerSecond : -((-micros + microsPerSecond - 1n) / microsPerSecond);
  const fraction = micros - seconds * microsPerSecond;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${whole}.${fraction.toString().padStart(6, '0')}Z`;
}

/** Canonical text of an RFC 3339 time in any offset; null when it is malformed or out of range. */
export function normalizeTimestamp(text: string): string | null {
  const micros = parseTimestamp(text);
  return micros === null ? null : formatTimestamp(micros);
}

/** The same moment `years` calendar years later, counted in UTC; 29 February becomes the 28th where there is none. */
export function addCalendarYears(timestamp: string, years: number): string {
  const year = Number(timestamp.slice(0, 4)) + years;
  const month = Number(timestamp.slice(5, 7));
  const day = Math.min(Number(timestamp.slice(8, 10)), daysInMonth(year, month));
  return `${String(year).padStart(4, '0')}${timestamp.slice(4, 8)}${String(day).padStart(2, '0')}${timestamp.slice(10)}`;
}

/** Milliseconds from one canonical time to another as a normalised decimal with up to three fractional digits. */
export function millisecondsBetween(from: string, to: string): string {
  const micros = microsBetween(from, to);
  const sign = micros < 0n ? '-' : '';
  const magnitude = micros < 0n ? -micros : micros;
  const fraction = (magnitude % 1000n).toString().padStart(3, '0').replace(/0+$/, '');
  return `${sign}${magnitude / 1000n}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Verification does this for every signal; two times of one day need no calendar. */
function microsBetween(from: string, to: string): bigint {
  if (from.length === 27 && to.length === 27 && from.slice(0, 10) === to.slice(0, 10)) {
    const micros = microsOfDay(to) - microsOfDay(from);
    if (!Number.isNaN(micros)) return BigInt(micros);
  }
  return (parseTimestamp(to) ?? 0n) - (parseTimestamp(from) ?? 0n);
}

function microsOfDay(canonical: string): number {
  const seconds =
    Number(canonical.slice(11, 13)) * 3600 + Number(canonical.slice(14, 16)) * 60 + Number(canonical.slice(17, 19));
  return seconds * 1_000_000 + Number(canonical.slice(20, 26));
}

const firstMoment = -62_135_596_800n * microsPerSecond;
const lastMoment = 253_402_300_800n * microsPerSecond - 1n;

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

function signedOffset(sign: string | undefined, hours = '', minutes = ''): number | null {
  const total = Number(hours) * 60 + Number(minutes);
  if (Number(hours) > 23 || Number(minutes) > 59) return null;
  return sign === '-' ? -total : total;
}
