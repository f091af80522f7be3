import { describe, expect, test } from 'vitest';
import type { SalesReport, SalesRow } from '../../src/lib/api/server.gen';
import { barsOf } from '../../src/jobs/manager/reports/chart-data';
import { compare, hoursShown } from '../../src/jobs/manager/today/today';
import { addDays } from '../../src/lib/days';

const row = (key: string, net_minor: number): SalesRow => ({
  key,
  label: key,
  detail: '',
  sales: net_minor === 0 ? 0 : 1,
  sales_minor: net_minor,
  refunds: 0,
  refunds_minor: 0,
  net_minor,
  quantity_milli: null,
  tax_minor: 0,
});
/** Days from the first of the year on, of which some have business. */
const days = (count: number, busy: Record<number, number>) =>
  Array.from({ length: count }, (_, i) => row(addDays('2026-01-01', i), busy[i] ?? 0));

describe('the bars of a report by day', () => {
  test('are all its days, those without business too', () => {
    const week = barsOf({ group_by: 'day', rows: days(7, { 2: 500, 4: 700 }) });
    expect(week.values).toEqual([0, 0, 500, 0, 700, 0, 0]);
    expect(week.labels[0]).toBe('2026-01-01');
    expect(week.rows[6]!.key).toBe('2026-01-07');
  });

  test('begin and end with business where there are too many', () => {
    const quarter = barsOf({ group_by: 'day', rows: days(200, { 100: 500, 103: 700 }) });
    expect(quarter.values).toEqual([500, 0, 0, 700]);
  });

  test('are months where even those are too many', () => {
    const year = barsOf({ group_by: 'day', rows: days(300, { 0: 500, 1: 50, 150: 700 }) });
    expect(year.unit).toBe('month');
    expect(year.labels).toEqual(['2026-01', '2026-02', '2026-03', '2026-04', '2026-05']);
    expect(year.values).toEqual([550, 0, 0, 0, 700]);
  });
});

describe('today beside the same day a week before', () => {
  const day = (sums: Record<number, number>) =>
    ({
      rows: Array.from({ length: 24 }, (_, hour) => row(String(hour), sums[hour] ?? 0)),
    }) as SalesReport;

  test('is compared by whole hours', () => {
    const compared = compare(day({ 9: 300, 10: 300, 11: 900 }), day({ 9: 400, 10: 100, 15: 5000 }), 11);
    expect(compared).toEqual({ hour: 11, now_minor: 600, then_minor: 500, percent: 20 });
  });

  test('is not compared with nothing', () => {
    expect(compare(day({ 9: 300 }), day({ 15: 5000 }), 11).percent).toBeNull();
  });

  test('shows the hours from the first with business on either to the present one', () => {
    expect(hoursShown(day({ 9: 1 }), day({ 8: 1, 17: 1 }), 12)).toEqual([
      8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
    ]);
    expect(hoursShown(day({}), null, 9)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });
});
