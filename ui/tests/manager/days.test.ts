import { describe, expect, test } from 'vitest';
import { addDays, dayIn, daysOf, daysOfPreset, hourIn, isDay, isTimeZone } from '../../src/lib/days';
import { readSpan } from '../../src/jobs/manager/shared/span';

const BERLIN = 'Europe/Berlin';

describe('which day it is depends on where', () => {
  test.each([
    ['Europe/London', Date.UTC(2026, 10, 21, 23, 59), '2026-11-21', 23],
    [BERLIN, Date.UTC(2026, 10, 21, 23, 59), '2026-11-22', 0],
    ['America/New_York', Date.UTC(2026, 10, 22, 4, 30), '2026-11-21', 23],
    ['Pacific/Kiritimati', Date.UTC(2026, 10, 21, 10, 0), '2026-11-22', 0],
    ['Asia/Kolkata', Date.UTC(2026, 10, 21, 18, 29), '2026-11-21', 23],
    // The clock goes forward at 01:00 UTC and back at 01:00 UTC.
    [BERLIN, Date.UTC(2026, 2, 28, 23, 30), '2026-03-29', 0],
    [BERLIN, Date.UTC(2026, 2, 29, 0, 59), '2026-03-29', 1],
    [BERLIN, Date.UTC(2026, 2, 29, 1, 0), '2026-03-29', 3],
    [BERLIN, Date.UTC(2026, 2, 29, 21, 59), '2026-03-29', 23],
    [BERLIN, Date.UTC(2026, 2, 29, 22, 0), '2026-03-30', 0],
    [BERLIN, Date.UTC(2026, 9, 25, 0, 30), '2026-10-25', 2],
    [BERLIN, Date.UTC(2026, 9, 25, 1, 30), '2026-10-25', 2],
    [BERLIN, Date.UTC(2026, 9, 25, 22, 59), '2026-10-25', 23],
    [BERLIN, Date.UTC(2026, 9, 25, 23, 0), '2026-10-26', 0],
  ])('%s at %i is %s, hour %i', (zone, at, day, hour) => {
    expect(dayIn(zone, at)).toBe(day);
    expect(hourIn(zone, at)).toBe(hour);
  });
});

test.each([
  ['today', '2026-11-21', '2026-11-21', '2026-11-21'],
  ['yesterday', '2026-03-01', '2026-02-28', '2026-02-28'],
  ['this_week', '2026-11-21', '2026-11-16', '2026-11-21'],
  ['this_week', '2026-11-22', '2026-11-16', '2026-11-22'],
  ['this_week', '2026-11-23', '2026-11-23', '2026-11-23'],
  // A week with the change of the clock in it.
  ['this_week', '2026-03-30', '2026-03-30', '2026-03-30'],
  ['last_7', '2026-03-31', '2026-03-25', '2026-03-31'],
  ['last_30', '2026-11-21', '2026-10-23', '2026-11-21'],
  ['this_month', '2026-02-28', '2026-02-01', '2026-02-28'],
  ['last_month', '2026-03-31', '2026-02-01', '2026-02-28'],
  ['last_month', '2024-03-31', '2024-02-01', '2024-02-29'],
  ['last_month', '2026-01-05', '2025-12-01', '2025-12-31'],
  ['this_year', '2026-11-21', '2026-01-01', '2026-11-21'],
] as const)('%s of %s is %s to %s', (preset, today, from, to) => {
  expect(daysOfPreset(preset, today)).toEqual({ from, to });
});

test('days are counted, whatever the clocks do', () => {
  expect(addDays('2026-12-31', 1)).toBe('2027-01-01');
  expect(addDays('2026-03-30', -1)).toBe('2026-03-29');
  expect(daysOf({ from: '2026-01-01', to: '2026-12-31' })).toBe(365);
  expect(daysOf({ from: '2026-03-29', to: '2026-03-29' })).toBe(1);
});

test.each(['2026-02-30', '2026-13-01', '26-01-01', '', '2026-1-1', 'today'])('%j is no day', (text) =>
  expect(isDay(text)).toBe(false),
);
test('time zones are those that the browser knows', () => {
  expect(isTimeZone('Europe/London')).toBe(true);
  expect(isTimeZone('Europe/Atlantis')).toBe(false);
});

describe('the span of an address', () => {
  const NOW = Date.UTC(2026, 10, 21, 23, 30);
  const read = (query: string) => readSpan(new URLSearchParams(query), 'Europe/London', NOW, 'last_7');

  test('is the usual one when it says nothing', () => {
    expect(read('')).toEqual({
      span: { from: '2026-11-15', to: '2026-11-21' },
      preset: 'last_7',
      isWrong: false,
    });
  });

  test('is where the address says: tomorrow begins earlier in Berlin', () => {
    expect(read('range=today&time_zone=Europe/Berlin').span).toEqual({
      from: '2026-11-22',
      to: '2026-11-22',
      time_zone: 'Europe/Berlin',
    });
  });

  test('takes days of its own, a store and a basis', () => {
    expect(read('from=2026-10-01&to=2026-10-02&basis=clock&store=S02')).toEqual({
      span: { from: '2026-10-01', to: '2026-10-02', basis: 'clock', store: 'S02' },
      preset: null,
      isWrong: false,
    });
  });

  test.each([
    'from=2026-10-03&to=2026-10-02',
    'from=2026-10-03',
    'from=x&to=y',
    'from=0001-01-01&to=2026-01-01',
  ])('says when %s is none', (query) =>
    expect(read(query)).toMatchObject({ preset: 'last_7', isWrong: true }),
  );

  test('does not know a zone or a preset that nobody knows', () => {
    expect(read('range=tomorrow&time_zone=Mars')).toMatchObject({ preset: 'last_7', isWrong: false });
  });
});
