import { describe, expect, test } from 'vitest';
import { entryOfScan, parseEntry, ScanDetector } from '../src/lib/scan';

/** Types text with a gap before each key, then Enter after the same gap. */
function type(text: string, gapMs: number, detector = new ScanDetector(), from = 0) {
  let at = from;
  for (const key of text) detector.press(key, (at += gapMs));
  return { detector, at, enter: () => detector.enter(at + gapMs) };
}

describe('what a scanner sends is told from what fingers type', () => {
  test.each([
    ['5012345678900', 3, '5012345678900'],
    ['85123A', 30, '85123A'],
    ['85123A', 50, '85123A'],
    ['85123A', 51, null],
    ['5012345678900', 90, null],
    ['12', 5, null],
  ])('%s with %i ms between keys', (text, gap, scanned) =>
    expect(type(text, gap).enter().scanned).toBe(scanned),
  );

  test('a burst whose Enter comes late is no scan', () => {
    const { detector, at } = type('5012345678900', 5);
    expect(detector.enter(at + 400)).toEqual({ text: '5012345678900', scanned: null, before: 13 });
  });

  test('keys typed slowly before the burst do not belong to it', () => {
    const slow = type('6*', 200);
    const fast = type('85123A', 10, slow.detector, slow.at + 600);
    expect(entryOfScan(fast.enter())).toEqual({ code: '85123A', quantityMilli: 6_000 });
  });

  test('stray digits before the burst are neither code nor quantity', () => {
    const slow = type('3', 200);
    const fast = type('85123A', 10, slow.detector, slow.at + 600);
    expect(entryOfScan(fast.enter())).toEqual({ code: '85123A', quantityMilli: null });
  });

  test('two scans in a row do not run together', () => {
    const first = type('5012345678900', 5);
    expect(first.enter().scanned).toBe('5012345678900');
    const second = type('4006381333931', 5, first.detector, first.at + 10);
    expect(second.enter().scanned).toBe('4006381333931');
  });
});

test.each([
  ['85123A', '85123A', null],
  ['6*85123A', '85123A', 6_000],
  ['1.5*TEA', 'TEA', 1_500],
  ['0,25*TEA', 'TEA', 250],
  ['6*', '', 6_000],
  ['0*85123A', '0*85123A', null],
  ['A*B', 'A*B', null],
  ['  85123A ', '85123A', null],
])('%s is read as code %s', (text, code, quantityMilli) =>
  expect(parseEntry(text)).toEqual({ code, quantityMilli }),
);
