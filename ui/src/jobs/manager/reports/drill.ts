/** From a figure to the sales behind it. */
import type { GroupBy, SalesReport, SalesRow } from '../../../lib/api/server.gen';
import type { SaleFilter } from '../../../lib/manager';
import { address } from '../../../lib/router.svelte';

/** Which filter of the list of sales a row's key is; days are the span itself. */
const FILTERS: Record<Exclude<GroupBy, 'day'>, SaleFilter> = {
  hour: 'hour',
  till: 'till',
  cashier: 'cashier',
  product: 'product',
  category: 'category',
  tender: 'tender',
  tax_rate: 'tax_rate_bp',
};

type Asked = Pick<SalesReport, 'from' | 'to' | 'basis' | 'time_zone' | 'store' | 'currency' | 'group_by'>;

/** The filters whose keys mean nothing to people carry their name along in the address. */
export const nameOf = (filter: SaleFilter) => `${filter}_name`;
const NAMED = new Set<SaleFilter>(['till', 'cashier', 'product']);

/** The address of the sales behind a row, or behind the total; `kind` narrows it further. */
export function salesBehind(report: Asked, row: SalesRow | null, kind?: 'sale' | 'refund'): string {
  const query: Record<string, string> = { from: report.from, to: report.to, basis: report.basis };
  if (report.basis === 'clock' || report.group_by === 'hour') query['time_zone'] = report.time_zone;
  if (report.store) query['store'] = report.store;
  query['currency'] = report.currency;
  if (row && report.group_by === 'day') query['from'] = query['to'] = row.key;
  else if (row && report.group_by !== 'day') {
    const filter = FILTERS[report.group_by];
    query[filter] = row.key;
    if (NAMED.has(filter)) query[nameOf(filter)] = row.label;
  }
  if (kind) query['kind'] = kind;
  return address('/sales', query);
}
