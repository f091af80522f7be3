/**
 * Amounts and quantities as people read and type them. Everything stays a whole number: text is cut and joined by
 * digits, so that no amount passes through a binary fraction on its way to the screen or back.
 */
import { locale } from './messages';

export interface Currency {
  /** ISO 4217 letters. */
  currency: string;
  /** How many decimal digits a minor unit is. */
  exponent: number;
}

/** Digits of a unit price below the minor unit. */
const UNIT_PRICE_EXTRA = 2;
/** No amount typed at a till has more digits; beyond it the number would no longer be exact. */
const DIGITS_MAX = 15;
const QUANTITY_EXPONENT = 3;

const formats = new Map<string, Intl.NumberFormat>();

function format(key: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const known = formats.get(key);
  if (known) return known;
  const made = new Intl.NumberFormat(locale, options);
  formats.set(key, made);
  return made;
}

/** A whole number of 10^-exponent as plain decimal text: (1205, 2) -> "12.05". */
export function decimal(value: number, exponent: number): string {
  const sign = value < 0 ? '-' : '';
  const digits = String(Math.abs(value)).padStart(exponent + 1, '0');
  if (exponent === 0) return sign + digits;
  return `${sign}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

/** Plain decimal text as a whole number of 10^-exponent; null when it is none, has more digits than fit, or is negative. */
export function parseDecimal(text: string, exponent: number): number | null {
  const match = /^(\d*)(?:[.,](\d*))?$/.exec(text.trim());
  if (!match) return null;
  const whole = match[1] ?? '';
  const fraction = (match[2] ?? '').replace(/0+$/, '');
  if (whole + (match[2] ?? '') === '' || fraction.length > exponent) return null;
  const digits = (whole + fraction.padEnd(exponent, '0')).replace(/^0+(?=\d)/, '');
  return digits.length > DIGITS_MAX ? null : Number(digits);
}

function currencyText(text: string, { currency, exponent }: Currency, extra: number): string {
  const intl = format(`${currency}/${exponent}/${extra}`, {
    style: 'currency',
    currency,
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: exponent,
    maximumFractionDigits: exponent + extra,
  });
  // Decimal text is formatted digit by digit; the type only knows its literals.
  return intl.format(text as Intl.StringNumericLiteral);
}

/** An amount in minor units: (1205, GBP/2) -> "£12.05". */
export function money(minor: number, currency: Currency): string {
  return currencyText(decimal(minor, currency.exponent), currency, 0);
}

/** A unit price in hundredths of a minor unit; digits below the minor unit only where there are any. */
export function unitPrice(hundredths: number, currency: Currency): string {
  return currencyText(decimal(hundredths, currency.exponent + UNIT_PRICE_EXTRA), currency, UNIT_PRICE_EXTRA);
}

/** A quantity in thousandths: 6000 -> "6", 1250 -> "1.25". */
export function quantity(milli: number): string {
  const intl = format('quantity', { maximumFractionDigits: QUANTITY_EXPONENT });
  return intl.format(decimal(milli, QUANTITY_EXPONENT) as Intl.StringNumericLiteral);
}

export const parseQuantity = (text: string) => parseDecimal(text, QUANTITY_EXPONENT);

/** A tax rate in basis points: 2000 -> "20%". */
export function taxRate(basisPoints: number): string {
  const intl = format('rate', { style: 'percent', maximumFractionDigits: 2 });
  return intl.format(decimal(basisPoints, 4) as Intl.StringNumericLiteral);
}

export function count(value: number): string {
  return format('count', { maximumFractionDigits: 0 }).format(value);
}

/** An amount short enough for a chart's axis: "£12K". */
export function moneyShort(minor: number, currency: Currency): string {
  const intl = format(`short/${currency.currency}`, {
    style: 'currency',
    currency: currency.currency,
    currencyDisplay: 'narrowSymbol',
    notation: 'compact',
    maximumFractionDigits: 1,
  });
  return intl.format(decimal(minor, currency.exponent) as Intl.StringNumericLiteral);
}
