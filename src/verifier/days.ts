/** Calendar days in UTC as text, `2026-11-20`, and as days since the Unix epoch. */
const dayMs = 86_400_000;

/** Days since the Unix epoch; null for a text that is no date of the years 1 to 9999. */
export function parseDay(text: string): number | null {
  if (!/^(?!0000)\d{4}-\d{2}-\d{2}$/.test(text)) return null;
  const day = Date.parse(`${text}T00:00:00Z`) / dayMs;
  return Number.isInteger(day) && formatDay(day) === text ? day : null;
}

/** The date of a day since the Unix epoch. */
export function formatDay(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}
