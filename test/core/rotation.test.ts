import { describe, expect, test } from '@jest/globals';
import { isOpen, parseChangeWindow } from '../../src/core/change-window.js';
import { daysUntil, dueNotice, nextRotationMs, scheduleStatus } from '../../src/core/rotation.js';

const ms = (text: string) => Date.parse(text);
const dayMs = 86_400_000;

describe('the schedule', () => {
  test.each([
    ['2025-10-09T00:00:00Z', 90, '2026-01-07T00:00:00.000Z'],
    ['2024-02-01T00:00:00Z', 30, '2024-03-02T00:00:00.000Z'],
    ['2025-03-01T12:00:00Z', 60, '2025-04-30T12:00:00.000Z'],
    // Onto a leap day, over one, over where one would be, and over the end of a year that has one.
    ['2023-12-01T00:00:00Z', 90, '2024-02-29T00:00:00.000Z'],
    ['2024-02-29T06:30:00Z', 365, '2025-02-28T06:30:00.000Z'],
    ['2023-02-28T00:00:00Z', 365, '2024-02-28T00:00:00.000Z'],
    ['2024-12-31T23:59:59Z', 180, '2025-06-29T23:59:59.000Z'],
    // Clocks in New York and Berlin are changed in between: the days keep their 24 hours.
    ['2026-03-01T07:00:00Z', 30, '2026-03-31T07:00:00.000Z'],
    ['2026-10-20T22:30:00Z', 14, '2026-11-03T22:30:00.000Z'],
  ])('from %s on, every %i days, is next at %s', (last, days, next) => {
    expect(new Date(nextRotationMs(ms(last), days)).toISOString()).toBe(next);
  });

  test('counts whole days that are left, rounded down', () => {
    expect(daysUntil(ms('2026-01-09T00:00:00Z'), ms('2025-11-09T10:45:00Z'))).toBe(60);
    expect(daysUntil(ms('2026-01-09T00:00:00Z'), ms('2026-01-09T00:00:01Z'))).toBe(-1);
    // Over a leap day, and over the night in which clocks go forward.
    expect(daysUntil(ms('2024-03-01T00:00:00Z'), ms('2024-02-28T00:00:00Z'))).toBe(2);
    expect(daysUntil(ms('2024-03-01T00:00:00Z'), ms('2024-02-28T00:00:00.001Z'))).toBe(1);
    expect(daysUntil(ms('2026-03-09T07:00:00Z'), ms('2026-03-08T06:59:59Z'))).toBe(1);
  });

  test.each([
    [3, null, 'ACTIVE'],
    [0.5, null, 'DUE'],
    [-0.5, null, 'OVERDUE'],
    [3, 'APPLYING', 'ROTATING'],
    [3, 'HELD', 'HELD'],
    [3, 'ROTATED', 'ACTIVE'],
  ] as const)('%d days before it is due, with a rotation that is %s, is %s', (left, openStatus, status) => {
    const nowMs = ms('2026-06-01T00:00:00Z');
    const lastRotatedMs = nowMs + left * dayMs - 90 * dayMs;
    expect(scheduleStatus({ lastRotatedMs, intervalDays: 90, nowMs, openStatus })).toBe(status);
  });

  test('gives the latest notice that is due, and one a day when it is overdue', () => {
    const nextMs = ms('2026-06-30T00:00:00Z');
    const at = (days: number) => dueNotice(nextMs, nextMs - days * dayMs);
    expect([8, 7, 4, 3, 2, 1, 0.1].map(at)).toEqual([null, 'DAYS:7', 'DAYS:7', 'DAYS:3', 'DAYS:3', 'DAYS:1', 'DAYS:1']);
    expect([0, -0.9, -1, -5.5].map(at)).toEqual(['OVERDUE:0', 'OVERDUE:0', 'OVERDUE:1', 'OVERDUE:5']);
  });
});

describe('the window of changes', () => {
  const trading = { timeZone: 'America/New_York', blackouts: [{ days: [1, 2, 3, 4, 5], from: '09:30', to: '16:00' }] };

  test.each([
    ['2026-11-20T14:29:00Z', true],
    ['2026-11-20T14:30:00Z', false],
    ['2026-11-20T21:00:00Z', true],
    ['2026-11-21T15:00:00Z', true],
    // An hour earlier in UTC while New York has daylight saving time.
    ['2026-07-17T13:29:00Z', true],
    ['2026-07-17T13:30:00Z', false],
  ])('keeps hours of trading free, by clocks of their place: %s is %s', (at, open) => {
    expect(isOpen(parseChangeWindow(trading), ms(at))).toBe(open);
  });

  test.each([
    // Clocks go from 02:00 to 03:00: the hour of the window is not there.
    ['2026-03-08T06:59:00Z', false],
    ['2026-03-08T07:00:00Z', false],
    // On an ordinary Sunday it is, an hour later in UTC while it is winter.
    ['2026-03-01T07:00:00Z', true],
    ['2026-03-15T06:30:00Z', true],
    ['2026-03-15T07:00:00Z', false],
    // Clocks go from 02:00 back to 01:00, the hour before the window: it begins after that was there twice.
    ['2026-11-01T05:30:00Z', false],
    ['2026-11-01T06:30:00Z', false],
    ['2026-11-01T07:00:00Z', true],
    ['2026-11-01T08:00:00Z', false],
  ])('follows the clocks of its place through both nights in which they are changed: %s is %s', (at, open) => {
    const night = { timeZone: 'America/New_York', open: [{ days: [7], from: '02:00', to: '03:00' }] };
    expect(isOpen(parseChangeWindow(night), ms(at))).toBe(open);
  });

  test('an hour that is there twice is open, or blacked out, both times', () => {
    const hour = [{ days: [7], from: '02:00', to: '03:00' }];
    const berlin = (window: object) => parseChangeWindow({ timeZone: 'Europe/Berlin', ...window });
    const times = ['2026-10-24T23:59:00Z', '2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', '2026-10-25T02:00:00Z'].map(
      ms,
    );
    expect(times.map((at) => isOpen(berlin({ open: hour }), at))).toEqual([false, true, true, false]);
    expect(times.map((at) => isOpen(berlin({ blackouts: hour }), at))).toEqual([true, false, false, true]);
  });

  test('is the day of its place, not that of UTC, and leap days are days', () => {
    const tokyo = parseChangeWindow({ timeZone: 'Asia/Tokyo', open: [{ days: [4], from: '00:00', to: '09:00' }] });
    // 2024-02-29 is a Thursday; it begins in Tokyo while it is still Wednesday in UTC.
    expect(
      [ms('2024-02-28T14:59:00Z'), ms('2024-02-28T15:00:00Z'), ms('2024-02-29T00:00:00Z')].map((at) =>
        isOpen(tokyo, at),
      ),
    ).toEqual([false, true, false]);
  });

  test('may lie over midnight', () => {
    const night = parseChangeWindow({ open: [{ days: [5], from: '22:00', to: '02:00' }] });
    expect(
      ['2026-11-20T23:00:00Z', '2026-11-21T01:59:00Z', '2026-11-21T02:00:00Z'].map((at) => isOpen(night, ms(at))),
    ).toEqual([true, true, false]);
  });

  test.each([
    null,
    { timeZone: 'Mars/Olympus' },
    { open: [{ days: [8], from: '10:00', to: '11:00' }] },
    { open: [{ days: [1], from: '24:00', to: '11:00' }] },
    { opne: [] },
  ])('%j is refused', (value) => {
    expect(() => parseChangeWindow(value)).toThrow(SyntaxError);
  });
});
