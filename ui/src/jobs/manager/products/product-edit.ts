/** A product as a form: what is typed, what of it is new, and what takes it back. */
import type { FieldEdit, ProductEdit, ProductRow } from '../../../lib/api/server.gen';
import { type MessageKey } from '../../../lib/messages';
import { decimal, parseDecimal } from '../../../lib/money';

const UNIT_PRICE_EXTRA = 2;
const CODE_BYTES_MAX = 64;
const NAME_BYTES_MAX = 1_000;
const CATEGORY_BYTES_MAX = 200;
export const BARCODES_MAX = 32;
const RATE_BP_MAX = 10_000;

export interface Draft {
  code: string;
  name: string;
  price: string;
  /** The id of a tax class; empty for a rate of its own. */
  tax_class: string;
  /** Percent as typed; only read when there is no class. */
  rate: string;
  category: string;
  barcodes: string[];
  active: boolean;
}

export type DraftField = keyof Draft;
export type Wrong = Partial<Record<DraftField, MessageKey>>;

/** Hundredths of a minor unit as one types a price: no more digits than it has, but all of the minor unit's. */
export function writePrice(price_centi: number, exponent: number): string {
  const whole = decimal(price_centi, exponent + UNIT_PRICE_EXTRA);
  return whole.endsWith('00') ? decimal(price_centi / 100, exponent) : whole.replace(/0$/, '');
}

export const readPrice = (text: string, exponent: number) => parseDecimal(text, exponent + UNIT_PRICE_EXTRA);

export const writeRate = (rate_bp: number) => decimal(rate_bp, 2).replace(/\.?0+$/, '') || '0';
export function readRate(text: string): number | null {
  const rate = parseDecimal(text.replace(/\s*%\s*$/, ''), 2);
  return rate !== null && rate <= RATE_BP_MAX ? rate : null;
}

export function draftOf(product: ProductRow | null, exponent: number, usualClass = ''): Draft {
  if (!product)
    return {
      code: '',
      name: '',
      price: '',
      tax_class: usualClass,
      rate: '',
      category: '',
      barcodes: [],
      active: true,
    };
  return {
    code: product.code,
    name: product.name,
    price: writePrice(product.price_centi, exponent),
    tax_class: product.tax_class ?? '',
    rate: writeRate(product.tax_rate_bp),
    category: product.category,
    barcodes: [...product.barcodes],
    active: product.active,
  };
}

const bytes = (text: string) => new TextEncoder().encode(text).length;

/** What of a draft the server would refuse, field by field. */
export function wrongIn(draft: Draft, exponent: number): Wrong {
  const wrong: Wrong = {};
  const code = bytes(draft.code.trim());
  if (code === 0) wrong.code = 'product.wrong.code_empty';
  if (code > CODE_BYTES_MAX) wrong.code = 'product.wrong.code_long';
  const name = bytes(draft.name.trim());
  if (name === 0) wrong.name = 'product.wrong.name_empty';
  if (name > NAME_BYTES_MAX) wrong.name = 'product.wrong.name_long';
  if (readPrice(draft.price, exponent) === null) wrong.price = 'product.wrong.price';
  if (draft.tax_class === '' && readRate(draft.rate) === null) wrong.rate = 'product.wrong.rate';
  if (bytes(draft.category.trim()) > CATEGORY_BYTES_MAX) wrong.category = 'product.wrong.category_long';
  return wrong;
}

/** The fields of a draft that differ from the product; all of them for a new one. The draft must hold nothing wrong. */
export function editOf(product: ProductRow | null, draft: Draft, exponent: number): Partial<ProductEdit> {
  const edit: Partial<ProductEdit> = {};
  const code = draft.code.trim();
  const name = draft.name.trim();
  const category = draft.category.trim();
  const price = readPrice(draft.price, exponent);
  const rate = readRate(draft.rate);
  if (code !== product?.code) edit.code = code;
  if (name !== product?.name) edit.name = name;
  if (price !== null && price !== product?.price_centi) edit.price_centi = price;
  if (category !== (product?.category ?? '')) edit.category = category;
  if (draft.tax_class !== '') {
    if (draft.tax_class !== product?.tax_class) edit.tax_class = draft.tax_class;
  } else if (rate !== null && (!product || product.tax_class !== null || rate !== product.tax_rate_bp)) {
    edit.tax_rate_bp = rate;
  }
  if (draft.barcodes.join('\n') !== (product?.barcodes ?? []).join('\n')) edit.barcodes = draft.barcodes;
  if (draft.active !== (product?.active ?? true)) edit.active = draft.active;
  return edit;
}

/** The edit that writes back what another replaced. */
export function undoOf(before: ProductRow, edit: Partial<ProductEdit>): Partial<ProductEdit> {
  const undo: Partial<ProductEdit> = {};
  if (edit.code !== undefined) undo.code = before.code;
  if (edit.name !== undefined) undo.name = before.name;
  if (edit.price_centi !== undefined) undo.price_centi = before.price_centi;
  if (edit.category !== undefined) undo.category = before.category;
  if (edit.barcodes !== undefined) undo.barcodes = before.barcodes;
  if (edit.active !== undefined) undo.active = before.active;
  if (edit.tax_class !== undefined || edit.tax_rate_bp !== undefined) {
    if (before.tax_class !== null) undo.tax_class = before.tax_class;
    else undo.tax_rate_bp = before.tax_rate_bp;
  }
  return undo;
}

/** A code as it was typed or scanned, added once. The same list when there is nothing to add. */
export function withBarcode(barcodes: string[], typed: string): string[] {
  const code = typed.trim();
  const fits = code !== '' && bytes(code) <= CODE_BYTES_MAX && barcodes.length < BARCODES_MAX;
  return fits && !barcodes.includes(code) ? [...barcodes, code] : barcodes;
}

export interface Conflict {
  stands: FieldEdit;
  lost: FieldEdit;
}

/**
 * The fields that two wrote at once and nobody has written since: what lost stands right behind what stands now. Once
 * somebody who saw both has written, there is nothing to decide any more.
 */
export function conflictsIn(history: FieldEdit[]): Conflict[] {
  const conflicts: Conflict[] = [];
  for (const stands of history) {
    if (stands.outcome !== 'current') continue;
    const same = history.filter((edit) => edit.field === stands.field);
    const lost = same[same.indexOf(stands) + 1] ?? same[same.indexOf(stands) - 1];
    if (lost?.outcome === 'outvoted') conflicts.push({ stands, lost });
  }
  return conflicts;
}
