import { describe, expect, test } from 'vitest';
import {
  decimal,
  money,
  moneyShort,
  parseDecimal,
  parseQuantity,
  quantity,
  taxRate,
  unitPrice,
} from '../src/lib/money';

const GBP = { currency: 'GBP', exponent: 2 };
const JPY = { currency: 'JPY', exponent: 0 };
const KWD = { currency: 'KWD', exponent: 3 };

describe('an amount in minor units', () => {
  test.each([
    [0, GBP, '£0.00'],
    [5, GBP, '£0.05'],
    [-5, GBP, '-£0.05'],
    [1_206, GBP, '£12.06'],
    [-1_106_206, GBP, '-£11,062.06'],
    // 90071992547409.91 has no exact binary fraction: a division would show other pence.
    [9_007_199_254_740_991, GBP, '£90,071,992,547,409.91'],
    [1_206, JPY, '¥1,206'],
  ])('%i', (minor, currency, text) => expect(money(minor, currency)).toBe(text));

  test('has the digits that the store says, whatever the currency usually has', () => {
    expect(money(1_206, KWD)).toMatch(/1\.206$/);
    expect(money(1_206, { currency: 'JPY', exponent: 2 })).toBe('¥12.06');
  });
});

test.each([
  [25_500, '£2.55'],
  [10, '£0.001'],
  [8_450, '£0.845'],
  [-1_106_206, '-£110.6206'],
])('a unit price in hundredths of a minor unit: %i', (price, text) =>
  expect(unitPrice(price, GBP)).toBe(text),
);

test.each([
  [6_000, '6'],
  [1_250, '1.25'],
  [1, '0.001'],
  [-3_000, '-3'],
  [1_400_000, '1,400'],
])('a quantity in thousandths: %i', (milli, text) => expect(quantity(milli)).toBe(text));

test.each([
  ['20', 2, 2_000],
  ['20.5', 2, 2_050],
  ['20,50', 2, 2_050],
  ['.5', 2, 50],
  ['007', 2, 700],
  ['12.340', 2, 1_234],
  // Sixteen digits could not be held exactly.
  ['90071992547409.9', 2, null],
  ['12.345', 2, null],
  ['', 2, null],
  ['.', 2, null],
  ['-1', 2, null],
  ['1e3', 2, null],
  ['12.5', 0, null],
  ['12345678901234567', 2, null],
])('typed %s with %i digits', (text, exponent, minor) => expect(parseDecimal(text, exponent)).toBe(minor));

test('what is written is read back', () => {
  for (const minor of [0, 1, 99, 100, 123_456_789]) expect(parseDecimal(decimal(minor, 2), 2)).toBe(minor);
});

test('quantities, rates and axis labels', () => {
  expect(parseQuantity('1.5')).toBe(1_500);
  expect(taxRate(2_000)).toBe('20%');
  expect(taxRate(550)).toBe('5.5%');
  expect(moneyShort(1_234_500, GBP)).toMatch(/^£12\.3k$/i);
});
