import { describe, expect, test } from 'vitest';
import type { FieldEdit, ProductRow } from '../../src/lib/api/server.gen';
import { attempts, firstThatFits, fitWithin } from '../../src/jobs/manager/products/picture';
import {
  conflictsIn,
  draftOf,
  editOf,
  readPrice,
  readRate,
  undoOf,
  withBarcode,
  writePrice,
  writeRate,
  wrongIn,
} from '../../src/jobs/manager/products/product-edit';

const bunting: ProductRow = {
  product: 'p',
  code: '47566',
  name: 'Party bunting',
  barcodes: ['4006381333931'],
  category: 'Decoration',
  price_centi: 49_500,
  tax_class: 'standard',
  tax_rate_bp: 2000,
  picture: null,
  active: true,
};

describe('a price is read and written digit by digit', () => {
  test.each([
    ['4.95', 2, 49_500],
    ['4,95', 2, 49_500],
    ['0.001', 2, 10],
    ['4.9999', 2, 49_999],
    ['90071992547.4099', 2, 900_719_925_474_099],
    ['1280', 0, 128_000],
    ['1.250', 3, 125_000],
    ['4.99999', 2, null],
    ['-1', 2, null],
    ['£4', 2, null],
    ['', 2, null],
  ])('%s with %i digits is %s', (text, exponent, price) => expect(readPrice(text, exponent)).toBe(price));

  test.each([
    [49_500, 2, '4.95'],
    [10, 2, '0.001'],
    [49_999, 2, '4.9999'],
    [128_000, 0, '1280'],
    [128_050, 0, '1280.5'],
    [0, 2, '0.00'],
  ])('%i with %i digits is %s', (price, exponent, text) => expect(writePrice(price, exponent)).toBe(text));

  test('what is written is read back', () => {
    for (const price of [0, 1, 99, 100, 101, 49_500, 123_456_789])
      for (const exponent of [0, 2, 3]) expect(readPrice(writePrice(price, exponent), exponent)).toBe(price);
  });
});

test('rates are percent with at most two digits, up to a hundred', () => {
  expect(['20', '7.5', '5,25 %', '0', '100'].map(readRate)).toEqual([2000, 750, 525, 0, 10_000]);
  expect(['100.01', '5.255', '-1', ''].map(readRate)).toEqual([null, null, null, null]);
  expect([2000, 750, 525, 0].map(writeRate)).toEqual(['20', '7.5', '5.25', '0']);
});

describe('an edit', () => {
  const draft = (more = {}) => ({ ...draftOf(bunting, 2), ...more });
  const edit = (more = {}) => editOf(bunting, draft(more), 2);

  test('of nothing is nothing', () => {
    expect(edit()).toEqual({});
    expect(edit({ name: ' Party bunting ', price: '4.950' })).toEqual({});
  });

  test.each([
    [{ price: '5' }, { price_centi: 50_000 }],
    [{ name: 'Bunting' }, { name: 'Bunting' }],
    [{ category: '' }, { category: '' }],
    [{ tax_class: 'zero' }, { tax_class: 'zero' }],
    // A class with the same rate is another thing than the rate itself.
    [{ tax_class: '', rate: '20' }, { tax_rate_bp: 2000 }],
    [{ barcodes: [] }, { barcodes: [] }],
    [{ active: false }, { active: false }],
  ])('%j says only %j', (more, said) => expect(edit(more)).toEqual(said));

  test('of a rate of its own leaves it alone while it is the same', () => {
    const own = { ...bunting, tax_class: null };
    expect(editOf(own, draftOf(own, 2), 2)).toEqual({});
    expect(editOf(own, { ...draftOf(own, 2), rate: '19' }, 2)).toEqual({ tax_rate_bp: 1900 });
  });

  test('is taken back field by field', () => {
    expect(undoOf(bunting, edit({ price: '5', name: 'B', active: false }))).toEqual({
      price_centi: 49_500,
      name: 'Party bunting',
      active: true,
    });
    expect(undoOf(bunting, edit({ tax_class: '', rate: '19' }))).toEqual({ tax_class: 'standard' });
    expect(undoOf({ ...bunting, tax_class: null }, { tax_class: 'zero' })).toEqual({ tax_rate_bp: 2000 });
  });

  test('of a new product says everything that is needed', () => {
    const fresh = { ...draftOf(null, 2, 'standard'), code: 'N1', name: 'New', price: '1' };
    expect(editOf(null, fresh, 2)).toEqual({
      code: 'N1',
      name: 'New',
      price_centi: 10_000,
      tax_class: 'standard',
    });
  });

  test('knows what the server would refuse', () => {
    expect(wrongIn(draft(), 2)).toEqual({});
    const wrong = wrongIn(draft({ code: ' ', name: '', price: 'x', tax_class: '', rate: '101' }), 2);
    expect(Object.keys(wrong).sort()).toEqual(['code', 'name', 'price', 'rate']);
    // Bytes count, not letters.
    expect(Object.keys(wrongIn(draft({ code: '茶'.repeat(22) }), 2))).toEqual(['code']);
  });
});

test('a barcode is added once, and no more than there may be', () => {
  expect(withBarcode(['1'], ' 2 ')).toEqual(['1', '2']);
  const one = ['1'];
  expect(withBarcode(one, '1')).toBe(one);
  expect(withBarcode(one, '  ')).toBe(one);
  expect(withBarcode(one, '9'.repeat(65))).toBe(one);
  const full = Array.from({ length: 32 }, (_, i) => String(i));
  expect(withBarcode(full, 'more')).toBe(full);
});

test('a conflict is one until somebody who saw both has written', () => {
  const edit = (field: string, by: string, outcome: FieldEdit['outcome']): FieldEdit => ({
    field,
    old: null,
    new: by,
    by,
    at_ms: 0,
    outcome,
  });
  const open = [
    edit('price', 'Ben', 'current'),
    edit('name', 'Ada', 'current'),
    edit('price', 'Dana', 'outvoted'),
  ];
  expect(conflictsIn(open).map(({ stands, lost }) => [stands.by, lost.by])).toEqual([['Ben', 'Dana']]);
  const settled = [
    edit('price', 'Ada', 'current'),
    edit('price', 'Ben', 'replaced'),
    edit('price', 'Dana', 'outvoted'),
  ];
  expect(conflictsIn(settled)).toEqual([]);
  // What lost may be the one that was written later by a slower clock.
  expect(conflictsIn([edit('price', 'Dana', 'outvoted'), edit('price', 'Ben', 'current')])).toHaveLength(1);
});

describe('a picture', () => {
  test.each([
    [{ width: 4000, height: 3000 }, 640, { width: 640, height: 480 }],
    [{ width: 100, height: 50 }, 640, { width: 100, height: 50 }],
    [{ width: 10_000, height: 3 }, 640, { width: 640, height: 1 }],
  ])('%j within %i is %j', (size, edge, fitted) => expect(fitWithin(size, edge)).toEqual(fitted));

  test('is tried with less quality before fewer pixels, and never larger than it is', () => {
    const tried = [...attempts({ width: 300, height: 200 })];
    expect(tried[0]!.size).toEqual({ width: 300, height: 200 });
    expect(new Set(tried.map(({ size }) => size.width))).toEqual(new Set([300, 256, 160]));
    expect(tried.map(({ quality }) => quality).slice(0, 4)).toEqual([0.86, 0.74, 0.6, 0.45]);
  });

  test('is the first that fits', async () => {
    const bytes = (count: number) => new Blob([new Uint8Array(count)]);
    const encode = async ({ width, height }: { width: number; height: number }, quality: number) =>
      bytes(Math.round(width * height * quality * 0.3));
    const fits = await firstThatFits({ width: 4000, height: 4000 }, encode);
    expect(fits!.size).toBeLessThanOrEqual(48 * 1024);
    expect(fits!.size).toBe(Math.round(512 * 512 * 0.6 * 0.3));
    expect(await firstThatFits({ width: 9, height: 9 }, async () => bytes(50_000))).toBeNull();
    expect(await firstThatFits({ width: 9, height: 9 }, async () => null)).toBeNull();
  });
});
