import type { SalesRow } from '../../lib/api/server.gen';
import type { Figures } from './report.svelte';

export interface Bars {
  unit: 'day' | 'month' | 'till';
  labels: string[];
  /** Whole minor units. */
  values: number[];
}

/** More days than this are drawn by month: thinner bars could not be told apart. */
const DAY_BARS_MAX = 92;

/** The bars of a report. Sums stay whole numbers. */
export function barsOf(report: Figures): Bars {
  if (report.group_by === 'till') return bars('till', report.rows);
  const rows = trimmed(report.rows);
  return rows.length <= DAY_BARS_MAX ? bars('day', rows) : byMonth(rows);
}

export const isQuiet = (row: SalesRow) => row.sales === 0 && row.refunds === 0;

/** Without the days before the first business and after the last. */
function trimmed(rows: SalesRow[]): SalesRow[] {
  const first = rows.findIndex((row) => !isQuiet(row));
  return first < 0 ? rows : rows.slice(first, rows.findLastIndex((row) => !isQuiet(row)) + 1);
}

function bars(unit: Bars['unit'], rows: SalesRow[]): Bars {
  return { unit, labels: rows.map((row) => row.label), values: rows.map((row) => row.net_minor) };
}

function byMonth(rows: SalesRow[]): Bars {
  const months = new Map<string, number>();
  for (const row of rows) {
    const month = row.key.slice(0, 7);
    months.set(month, (months.get(month) ?? 0) + row.net_minor);
  }
  return { unit: 'month', labels: [...months.keys()], values: [...months.values()] };
}
