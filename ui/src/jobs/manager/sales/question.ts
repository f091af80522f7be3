/** What a list of sales is narrowed by, read from the address. */
import { SALE_FILTERS, type SaleFilter, type SalesQuestion, type Span } from '../../../lib/manager';
import { t, tOr } from '../../../lib/messages';
import { taxRate } from '../../../lib/money';
import { withQuery } from '../../../lib/router.svelte';
import { hourWords } from '../../../lib/zoned';
import type { Chip } from '../../../lib/components/FilterBar.svelte';
import { nameOf } from '../reports/drill';

export function questionOf(query: URLSearchParams, span: Span): SalesQuestion {
  const question: SalesQuestion = { ...span };
  for (const filter of SALE_FILTERS) {
    const value = query.get(filter);
    if (value !== null) question[filter] = value;
  }
  return question;
}

/** The filters that have a field of their own are not chips. */
const FIELDS = new Set<SaleFilter>(['search', 'kind', 'till']);

export function chipsOf(url: URL): Chip[] {
  return SALE_FILTERS.filter((filter) => !FIELDS.has(filter) && url.searchParams.has(filter)).map(
    (filter) => ({
      key: filter,
      label: t(`sales.chip.${filter as 'hour'}`, { value: words(filter, url.searchParams) }),
      href: withQuery(url, { [filter]: null, [nameOf(filter)]: null }),
    }),
  );
}

export const withoutChips = (url: URL) =>
  withQuery(
    url,
    Object.fromEntries(
      SALE_FILTERS.flatMap((filter) => [
        [filter, null],
        [nameOf(filter), null],
      ]),
    ),
  );

function words(filter: SaleFilter, query: URLSearchParams): string {
  const value = query.get(filter) ?? '';
  if (filter === 'hour' && /^\d{1,2}$/.test(value)) return hourWords(Number(value));
  if (filter === 'tax_rate_bp' && /^\d{1,5}$/.test(value)) return taxRate(Number(value));
  if (filter === 'tender') return tOr(`tender.${value}`, value);
  return query.get(nameOf(filter)) ?? (value || t('report.nobody'));
}
