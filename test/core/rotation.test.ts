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
  ])('from %s on, every %i days, is next at %s', (last, days, next) => {
    expect(new Date(nextRotationMs(ms(last), days)).toISOString()).toBe(next);
  });

  test('counts whole days that are left, rounded down', () => {
    expect(daysUntil(ms('2026-01-09T00:00:00Z'), ms('2025-11-09T10:45:00Z'))).toBe(60);
    expect(daysUntil(ms('2026-01-09T00:00:00Z'), ms('2026-01-09T00:00:01Z'))).toBe(-1);
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
