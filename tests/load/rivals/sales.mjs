/**
 * Sales of four lines, always the same ones: products, prices and names as the bench makes them (`tests/load/src/catalogue.rs`), and in
 * each sale what a till records of it, as plain values.
 */
import { readFileSync } from 'node:fs';

const PRODUCTS = 500;
const LINES = 4;
/** 2026-03-02 09:00 UTC. */
const MORNING_MS = 1_772_442_000_000;
const SALE_EVERY_MS = 20_000;
const RATES_BP = [0, 500, 2_000];

/** The first so many sales. */
export function sales(count) {
  const dice = new Dice(3n);
  const products = Array.from({ length: PRODUCTS }, (_, n) => product(n));
  const shift = uuid(MORNING_MS, dice);
  return Array.from({ length: count }, (_, n) => sale(n + 1, shift, products, dice));
}

function sale(number, shift, products, dice) {
  const at_ms = MORNING_MS + number * SALE_EVERY_MS;
  const sold = Array.from({ length: LINES }, () => products[dice.below(PRODUCTS)]);
  const rates = [...new Set(sold.map((one) => one.rate_bp))].sort((a, b) => a - b);
  const lines = sold.map(({ id, name, price_minor, rate_bp }) => ({
    product: id,
    name,
    quantity_milli: 1_000,
    unit_price_minor: price_minor,
    tax: rates.indexOf(rate_bp),
    amount_minor: price_minor,
  }));
  const taxes = rates.map((rate_bp, at) => {
    const gross = sum(lines.filter((line) => line.tax === at));
    const tax_minor = Math.round((gross * rate_bp) / (10_000 + rate_bp));
    return { rate_bp, net_minor: gross - tax_minor, tax_minor };
  });
  const total_minor = sum(lines);
  const tendered_minor = Math.ceil(total_minor / 500) * 500;
  return {
    id: uuid(at_ms, dice),
    receipt_number: number,
    shift,
    at_ms,
    lines,
    taxes,
    payments: [{ method: 'cash', amount_minor: total_minor, tendered_minor }],
    total_minor,
    currency: 'GBP',
    tax_mode: 'inclusive',
  };
}

const sum = (lines) => lines.reduce((all, line) => all + line.amount_minor, 0);

const catalogue = readFileSync(new URL('../src/catalogue.rs', import.meta.url), 'utf8');
const [MAKERS, QUALITIES, KINDS, SIZES] = ['MAKERS', 'QUALITIES', 'KINDS', 'SIZES'].map((list) => {
  const [, words] = new RegExp(`const ${list}: \\[&str; \\d+\\] = \\[([^\\]]+)\\]`).exec(catalogue) ?? [];
  if (!words) throw new Error(`tests/load/src/catalogue.rs has no list ${list}`);
  return JSON.parse(`[${words.trim().replace(/,$/, '')}]`);
});

function product(n) {
  const words = new Dice(BigInt(n) ^ 0xc0ffeen);
  const [maker, quality, kind, size] = [MAKERS, QUALITIES, KINDS, SIZES].map((list) => list[words.below(list.length)]);
  const name = words.below(4) === 0 ? `${maker} ${quality} ${kind} ${size}` : `${maker} ${kind} ${size}`;
  const dice = new Dice(BigInt(n));
  const price_minor = 49 + dice.below(2_500);
  return { name, price_minor, rate_bp: RATES_BP[dice.below(3)], id: uuid(MORNING_MS, dice) };
}

/** A UUID of version 7. */
function uuid(at_ms, dice) {
  const time = at_ms.toString(16).padStart(12, '0');
  const [a, b] = [dice.roll(), dice.roll()].map((roll) => roll.toString(16).padStart(16, '0'));
  return `${time.slice(0, 8)}-${time.slice(8)}-7${a.slice(0, 3)}-8${a.slice(3, 6)}-${b.slice(0, 12)}`;
}

/** SplitMix64, as the bench has it. */
class Dice {
  constructor(seed) {
    this.state = seed;
  }

  roll() {
    const bits = (value) => BigInt.asUintN(64, value);
    this.state = bits(this.state + 0x9e3779b97f4a7c15n);
    let z = this.state;
    z = bits((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = bits((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return z ^ (z >> 31n);
  }

  below(bound) {
    return Number(this.roll() % BigInt(bound));
  }
}
