/** What "today" shows: sums with the sales that just came, and how they compare. */
import type { LiveSale, OrderKind, SaleRow, SalesReport } from '../../../lib/api/server.gen';
import { dayIn } from '../../../lib/days';

/** A sale or refund in the list of the latest, from the figures or straight from the feed. */
export interface LatestSale {
  store: string;
  order: string;
  kind: OrderKind;
  number: string;
  at_ms: number;
  till: string;
  cashier: string;
  what: string;
  total_minor: number;
  isLive: boolean;
}

export interface Sums {
  net_minor: number;
  sales: number;
  sales_minor: number;
  refunds: number;
  refunds_minor: number;
}

/** The sales of the feed that belong to the day and that the list, and so the figures, do not have yet. */
export function notYetIn(
  rows: SaleRow[],
  live: LiveSale[],
  day: string,
  timeZone: string,
  report: Pick<SalesReport, 'currency' | 'store'>,
): LiveSale[] {
  const known = new Set(rows.map((row) => row.order));
  const oldest = rows.at(-1)?.at_ms ?? 0;
  return live.filter(
    (sale) =>
      !known.has(sale.order) &&
      sale.at_ms >= oldest &&
      dayIn(timeZone, sale.at_ms) === day &&
      sale.currency === report.currency &&
      (report.store === null || report.store === sale.store),
  );
}

export function sumsWith(total: Sums, fresh: LiveSale[]): Sums {
  const sums = { ...total };
  for (const sale of fresh) {
    sums.net_minor += sale.total_minor;
    if (sale.kind === 'sale') {
      sums.sales += 1;
      sums.sales_minor += sale.total_minor;
    } else {
      sums.refunds += 1;
      sums.refunds_minor -= sale.total_minor;
    }
  }
  return sums;
}

export function latest(rows: SaleRow[], fresh: LiveSale[], live: LiveSale[], most: number): LatestSale[] {
  const named = new Map(live.map((sale) => [sale.order, sale.first_line]));
  const fromFeed = fresh.map((sale) => ({ ...sale, what: sale.first_line, isLive: true }));
  const fromList = rows.map((row) => ({
    ...row,
    what: named.get(row.order) ?? '',
    isLive: named.has(row.order),
  }));
  return [...fromFeed, ...fromList].sort((a, b) => b.at_ms - a.at_ms).slice(0, most);
}

/** Whole minor units, half a unit up; null when nothing was sold. */
export function averageBasket({ sales, sales_minor }: Sums): number | null {
  return sales > 0 ? Math.round(sales_minor / sales) : null;
}

export interface Comparison {
  /** The hour up to which both days are compared; what has begun is left out, or the older day would always win. */
  hour: number;
  now_minor: number;
  then_minor: number;
  /** Whole percent; null when there is nothing to compare with. */
  percent: number | null;
}

/** Today's whole hours beside the same hours of another day. */
export function compare(now: SalesReport, then: SalesReport, hour: number): Comparison {
  const until = ({ rows }: SalesReport) =>
    rows.filter((row) => Number(row.key) < hour).reduce((sum, row) => sum + row.net_minor, 0);
  const [now_minor, then_minor] = [until(now), until(then)];
  const percent = then_minor > 0 ? Math.round(((now_minor - then_minor) / then_minor) * 100) : null;
  return { hour, now_minor, then_minor, percent };
}

/** The hours worth drawing: from the first to the last with business on either day, and the present one. */
export function hoursShown(now: SalesReport, then: SalesReport | null, hour: number): number[] {
  const busy = [now, then].flatMap((report) =>
    (report?.rows ?? []).filter((row) => row.sales + row.refunds > 0).map((row) => Number(row.key)),
  );
  const all = [...busy, hour];
  const [first, last] = [Math.min(...all), Math.max(...all)];
  // A day with one busy hour still looks like a day.
  const from = Math.max(0, Math.min(first, last - 7));
  return Array.from({ length: Math.max(last, Math.min(23, from + 7)) - from + 1 }, (_, i) => from + i);
}
