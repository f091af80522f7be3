/** A store's settings as a form, and a receipt that shows them. */
import type { ReceiptView, StoreEdit, StoreView } from '../../../lib/api/server.gen';
import type { MessageKey } from '../../../lib/messages';
import { t } from '../../../lib/messages';
import { money, taxRate } from '../../../lib/money';

export const LINES_MAX = 16;
const NAME_BYTES_MAX = 1_000;
/** What stands on the receipt line by line. */
export const LINE_FIELDS = ['address', 'receipt_header', 'receipt_footer'] as const;
export const LANGUAGES = ['en', 'de', 'ja', 'ko'] as const;

export interface StoreDraft {
  name: string;
  address: string;
  receipt_header: string;
  receipt_footer: string;
  currency: string;
  tax_mode: string;
  /** The first language, then the others in their usual order. */
  language: string;
  others: string[];
  time_zone: string;
}

export type StoreWrong = Partial<Record<keyof StoreDraft, MessageKey>>;

export const writeLines = (lines: string[]) => lines.join('\n');
/** One string a line; what is empty at the end says nothing. */
export function readLines(text: string): string[] {
  const lines = text
    .replace(/\r/g, '')
    .split('\n')
    .map((line) => line.trimEnd());
  while (lines.at(-1) === '') lines.pop();
  return lines;
}

export function storeDraftOf(store: StoreView): StoreDraft {
  return {
    name: store.name,
    address: writeLines(store.address),
    receipt_header: writeLines(store.receipt_header),
    receipt_footer: writeLines(store.receipt_footer),
    currency: store.currency,
    tax_mode: store.tax_mode,
    language: store.languages[0] ?? 'en',
    others: store.languages.slice(1),
    time_zone: store.time_zone,
  };
}

export const languagesOf = (draft: StoreDraft) => [
  draft.language,
  ...draft.others.filter((other) => other !== draft.language),
];

export function storeWrongIn(draft: StoreDraft): StoreWrong {
  const wrong: StoreWrong = {};
  const name = new TextEncoder().encode(draft.name.trim()).length;
  if (name === 0 || name > NAME_BYTES_MAX) wrong.name = 'store.wrong.name';
  if (!/^[A-Z]{3}$/.test(draft.currency.trim().toUpperCase())) wrong.currency = 'store.wrong.currency';
  for (const field of LINE_FIELDS)
    if (readLines(draft[field]).length > LINES_MAX) wrong[field] = 'store.wrong.lines';
  return wrong;
}

export function storeEditOf(store: StoreView, draft: StoreDraft): Partial<StoreEdit> {
  const edit: Partial<StoreEdit> = {};
  const isOther = (a: string[], b: string[]) => JSON.stringify(a) !== JSON.stringify(b);
  if (draft.name.trim() !== store.name) edit.name = draft.name.trim();
  for (const field of LINE_FIELDS) {
    const lines = readLines(draft[field]);
    if (isOther(lines, store[field])) edit[field] = lines;
  }
  const currency = draft.currency.trim().toUpperCase();
  if (currency !== store.currency) edit.currency = currency;
  if (draft.tax_mode !== store.tax_mode) edit.tax_mode = draft.tax_mode;
  if (isOther(languagesOf(draft), store.languages)) edit.languages = languagesOf(draft);
  if (draft.time_zone !== store.time_zone) edit.time_zone = draft.time_zone;
  return edit;
}

export function storeUndoOf(before: StoreView, edit: Partial<StoreEdit>): Partial<StoreEdit> {
  const kept = Object.keys(edit).filter((key) => key !== 'seen') as Exclude<keyof StoreEdit, 'seen'>[];
  return Object.fromEntries(kept.map((key) => [key, before[key]]));
}

/** How many digits a currency's minor unit has, as the browser knows it. */
function exponentOf(currency: string): number {
  try {
    return (
      new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ??
      2
    );
  } catch {
    return 2;
  }
}

/** A receipt of two invented lines under the head and foot of a draft: for the eye only. */
export function exampleReceipt(draft: StoreDraft, code: string): ReceiptView {
  const letters = /^[A-Z]{3}$/i.test(draft.currency.trim()) ? draft.currency.trim().toUpperCase() : 'EUR';
  const currency = { currency: letters, exponent: exponentOf(letters) };
  const isIncluded = draft.tax_mode !== 'exclusive';
  const [first, second, rate] = [255, 1275, 2000];
  const lines = 2 * first + second;
  const tax = isIncluded ? Math.round((lines * rate) / (10_000 + rate)) : Math.round((lines * rate) / 10_000);
  const total = isIncluded ? lines : lines + tax;
  return {
    store_name: draft.name,
    address: readLines(draft.address),
    header: readLines(draft.receipt_header),
    is_refund: false,
    number: `${code}-T01a-000123`,
    at: '2026-11-21 14:32',
    cashier: t('store.example.cashier'),
    original_number: null,
    reason: null,
    lines: [
      {
        name: t('store.example.first'),
        detail: `2 × ${money(first, currency)}`,
        amount: money(2 * first, currency),
      },
      { name: t('store.example.second'), detail: null, amount: money(second, currency) },
    ],
    total: money(total, currency),
    taxes: [[taxRate(rate), money(total - tax, currency), money(tax, currency)]],
    tax_included: isIncluded,
    payments: [{ method: t('tender.cash'), handed_over: money(total, currency), change: null }],
    footer: readLines(draft.receipt_footer),
  };
}
