import type { GroupBy, SalesReport, SalesRow } from '../../../lib/api/server.gen';

export interface Bars {
  unit: GroupBy | 'month';
  /** The rows in the order of the bars; null where a bar is several rows. */
  rows: (SalesRow | null)[];
  labels: string[];
  /** Whole minor units. */
  values: number[];
}

/** More days than this are drawn by month: thinner bars could not be told apart. */
const DAY_BARS_MAX = 92;
/** So many of the largest are drawn where rows are names. */
const NAMED_BARS_MAX = 12;

type Figures = Pick<SalesReport, 'group_by' | 'rows'>;

/** The bars of a report. Sums stay whole numbers. */
export function barsOf(report: Figures, labelOf: (row: SalesRow) => string = (row) => row.label): Bars {
  const { group_by, rows } = report;
  if (group_by === 'hour') return bars('hour', trimmed(rows), labelOf);
  if (group_by !== 'day') return bars(group_by, largest(rows), labelOf);
  // A week without business on some of its days is still a week; only what is too long begins where business does.
  const days = rows.length <= DAY_BARS_MAX ? rows : trimmed(rows);
  return days.length <= DAY_BARS_MAX ? bars('day', days, labelOf) : byMonth(days);
}

/** Whether its rows are names, which are drawn one below the other. */
export const isNamed = (groupBy: GroupBy) => groupBy !== 'day' && groupBy !== 'hour';

export const isQuiet = (row: SalesRow) => row.sales === 0 && row.refunds === 0;

/** Without the days or hours before the first business and after the last. */
function trimmed(rows: SalesRow[]): SalesRow[] {
  const first = rows.findIndex((row) => !isQuiet(row));
  return first < 0 ? rows : rows.slice(first, rows.findLastIndex((row) => !isQuiet(row)) + 1);
}

const largest = (rows: SalesRow[]) =>
  rows.toSorted((a, b) => b.net_minor - a.net_minor).slice(0, NAMED_BARS_MAX);

function bars(unit: GroupBy, rows: SalesRow[], labelOf: (row: SalesRow) => string): Bars {
  return { unit, rows, labels: rows.map(labelOf), values: rows.map((row) => row.net_minor) };
}

function byMonth(rows: SalesRow[]): Bars {
  const months = new Map<string, number>();
  for (const row of rows) {
    const month = row.key.slice(0, 7);
    months.set(month, (months.get(month) ?? 0) + row.net_minor);
  }
  const labels = [...months.keys()];
  return { unit: 'month', rows: labels.map(() => null), labels, values: [...months.values()] };
}
