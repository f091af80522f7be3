/** The rows of a report as its table shows them. */
import type { GroupBy, SalesReport, SalesRow } from '../../../lib/api/server.gen';
import type { Sort } from '../../../lib/components/DataTable.svelte';
import { isQuiet } from './chart-data';

/** How a report can be cut, in the order in which one is offered them. */
export const CUTS: GroupBy[] = [
  'day',
  'hour',
  'till',
  'cashier',
  'product',
  'category',
  'tender',
  'tax_rate',
];

/** Longer tables leave out the days on which nothing was sold. */
const ROWS_MAX_WITH_QUIET = 31;

export function rowsShown({ group_by, rows }: Pick<SalesReport, 'group_by' | 'rows'>): SalesRow[] {
  const isLong = group_by === 'day' ? rows.length > ROWS_MAX_WITH_QUIET : group_by === 'hour';
  return isLong ? rows.filter((row) => !isQuiet(row)) : rows;
}

const SORTS: Record<string, (row: SalesRow) => number | string> = {
  label: (row) => row.label,
  sales: (row) => row.sales,
  sales_minor: (row) => row.sales_minor,
  refunds: (row) => row.refunds,
  refunds_minor: (row) => row.refunds_minor,
  net: (row) => row.net_minor,
  quantity: (row) => row.quantity_milli ?? 0,
  tax: (row) => row.tax_minor ?? 0,
};

/** By what the head of a column says. Days and hours are in their own order by their keys. */
export function sorted(rows: SalesRow[], sort: Sort | null, groupBy: GroupBy): SalesRow[] {
  if (!sort) return rows;
  const isTime = groupBy === 'day' || groupBy === 'hour';
  const by = sort.key === 'label' && isTime ? (row: SalesRow) => timeKey(row, groupBy) : SORTS[sort.key];
  if (!by) return rows;
  const turn = sort.isDown ? -1 : 1;
  return rows.toSorted((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (typeof x === 'string' && typeof y === 'string') return turn * x.localeCompare(y);
    return turn * (Number(x) - Number(y));
  });
}

const timeKey = (row: SalesRow, groupBy: GroupBy) => (groupBy === 'hour' ? Number(row.key) : row.key);

export const readSort = (text: string | null): Sort | null => {
  if (!text) return null;
  const isDown = text.startsWith('-');
  const key = isDown ? text.slice(1) : text;
  return key in SORTS ? { key, isDown } : null;
};
export const writeSort = ({ key, isDown }: Sort) => (isDown ? `-${key}` : key);

export const readCut = (text: string | null): GroupBy => CUTS.find((cut) => cut === text) ?? 'day';
