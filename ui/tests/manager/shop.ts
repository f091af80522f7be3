/** A made-up shop: its sales of two weeks, its catalogue, its devices. Names, amounts and people are invented. */
import type {
  Coverage,
  DeviceView,
  ExceptionRow,
  ImportView,
  OpenOrderRow,
  ShiftRow,
  ProductRow,
  SaleLine,
  SaleRow,
  StoreView,
  TaxClassView,
} from '../../src/lib/api/server.gen';

/** Saturday afternoon in London. */
export const NOW = Date.UTC(2026, 10, 21, 14, 32, 10);
export const TODAY = '2026-11-21';
const MINUTE = 60_000;
const DAY = 86_400_000;

/** The same numbers every time. */
function dice(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

export const id = (kind: number, n: number) =>
  `0189${String(kind).padStart(4, '0')}-0000-7000-8000-${String(n).padStart(12, '0')}`;

const NAMES: [string, string, number, string][] = [
  ['85123A', 'White hanging heart T-light holder', 25_500, 'Candles'],
  ['22423', 'Regency cakestand 3 tier', 127_500, 'Kitchen'],
  ['84879', 'Assorted colour bird ornament', 16_900, 'Decoration'],
  ['47566', 'Party bunting', 49_500, 'Decoration'],
  ['85099B', 'Jumbo bag red retrospot', 20_800, 'Bags'],
  ['22720', 'Set of 3 cake tins pantry design', 49_500, 'Kitchen'],
  ['20725', 'Lunch bag red retrospot', 16_500, 'Bags'],
  ['TEA-L', 'Loose leaf Assam tea, by weight', 248_000, 'Food'],
  ['22197', 'Popcorn holder, sold by the hundred', 8_450, 'Kitchen'],
  ['21730', 'Glass star frosted T-light holder', 42_500, 'Candles'],
  [
    'DE-1',
    'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft commemorative plate',
    12_999_900,
    'Kitchen',
  ],
  ['JP-7', '手描き九谷焼湯呑み茶碗 桐箱入り 五客揃え 伝統工芸品', 498_000, 'Kitchen'],
  ['AR-3', 'كوب شاي زجاجي مزخرف بخط يدوي', 89_900, 'Kitchen'],
];

export function products(): ProductRow[] {
  const named = NAMES.map(([code, name, price_centi, category], i) => ({
    product: id(1, i),
    code,
    name,
    barcodes: [`50123456789${String(i).padStart(2, '0')}`],
    category,
    price_centi,
    tax_class: category === 'Food' ? id(2, 2) : id(2, 1),
    tax_rate_bp: category === 'Food' ? 0 : 2000,
    picture: i < 6 ? `picture-${i}` : null,
    active: i !== 8,
  }));
  const bowls = Array.from({ length: 180 }, (_, i) => ({
    product: id(1, 100 + i),
    code: `23${100 + i}`,
    name: `Ceramic cake bowl no. ${i + 1}`,
    barcodes: [],
    category: 'Kitchen',
    price_centi: 35_000 + i * 1_500,
    tax_class: id(2, 1),
    tax_rate_bp: 2000,
    picture: null,
    active: true,
  }));
  return [...named, ...bowls].sort((a, b) => a.name.localeCompare(b.name, 'en'));
}

export const taxClasses = (): TaxClassView[] => [
  { tax_class: id(2, 1), name: 'Standard rate', rate_bp: 2000, active: true, products: 188, seen: 'seen-1' },
  { tax_class: id(2, 3), name: 'Reduced rate', rate_bp: 500, active: true, products: 4, seen: 'seen-1' },
  { tax_class: id(2, 2), name: 'Zero rate', rate_bp: 0, active: true, products: 1, seen: 'seen-1' },
  {
    tax_class: id(2, 4),
    name: 'Standard rate until 2010',
    rate_bp: 1750,
    active: false,
    products: 0,
    seen: 'seen-1',
  },
];

export const stores = (): StoreView[] =>
  [
    { code: 'S01', name: 'Harbour Street', address: ['12 Harbour Street', 'Whitstable CT5 1AB'] },
    { code: 'S02', name: 'Station Kiosk', address: ['Platform 2'] },
  ].map((store, i) => ({
    ...store,
    store: id(3, i),
    receipt_header: ['Gifts and tea since 1984'],
    receipt_footer: ['Thank you!', 'Goods may come back within 30 days', 'with this receipt.'],
    currency: 'GBP',
    tax_mode: 'inclusive',
    languages: ['en', 'de'],
    time_zone: 'Europe/London',
    seen: 'seen-1',
    history: [],
  }));

const PEOPLE = ['Amara Okafor', 'Ben Whitaker', 'Chiyo 田中'];
const TILLS = [
  { device: id(4, 1), name: 'Till 1', store: 'S01' },
  { device: id(4, 2), name: 'Till 2', store: 'S01' },
  { device: id(4, 3), name: 'Till 3, the one in the garden that is only used in summer', store: 'S01' },
  { device: id(4, 4), name: 'Kiosk', store: 'S02' },
];

export interface Sale {
  row: SaleRow;
  cashier: string;
  lines: SaleLine[];
}

/** Two weeks of business; every ninth or so is brought back in part. */
export function sales(catalogue: ProductRow[]): Sale[] {
  const roll = dice(7);
  const made: Sale[] = [];
  const popular = catalogue.filter((p) => !p.code.startsWith('23') && p.active);
  for (let back = 14; back >= 0; back -= 1) {
    const begin = Date.UTC(2026, 10, 21 - back, 9, 2);
    const end = back === 0 ? NOW - 3 * MINUTE : Date.UTC(2026, 10, 21 - back, 17, 55);
    const isWeekend = (begin / DAY + 4) % 7 >= 5;
    for (let at = begin; at < end; at += (4 + roll(isWeekend ? 12 : 20)) * MINUTE) {
      made.push(sale(made.length, at, TODAY.slice(0, 8) + String(21 - back).padStart(2, '0'), popular, roll));
    }
  }
  return made.reverse();
}

function sale(n: number, at: number, day: string, from: ProductRow[], roll: (below: number) => number): Sale {
  const till = TILLS[roll(10) < 2 ? 3 : roll(2)]!;
  const kind = n % 19 === 11 ? ('refund' as const) : ('sale' as const);
  const sign = kind === 'refund' ? -1 : 1;
  const count = kind === 'refund' ? 1 : 1 + roll(4);
  const lines: SaleLine[] = Array.from({ length: count }, () => {
    const cheap = roll(40) === 0 ? 10 : roll(from.length);
    const product = from[product_index(cheap, from)]!;
    const pieces = product.code === 'TEA-L' ? 125 * (1 + roll(6)) : 1000 * (1 + roll(4));
    return {
      product: product.product,
      code: product.code,
      name: product.name,
      category: product.category,
      quantity_milli: sign * pieces,
      unit_price_centi: product.price_centi,
      tax_rate_bp: product.tax_rate_bp,
      amount_minor: sign * Math.round((product.price_centi * pieces) / 100_000),
      refunded_milli: 0,
    };
  });
  const cashier = PEOPLE[roll(PEOPLE.length)]!;
  const row: SaleRow = {
    store: till.store,
    order: id(5, n),
    kind,
    number: `${till.store}-T0${TILLS.indexOf(till) + 1}b-${String(400 + n).padStart(6, '0')}`,
    at_ms: at,
    business_day: day,
    device: till.device,
    till: till.name,
    cashier,
    lines: lines.length,
    tenders: [roll(3) === 0 ? 'card' : 'cash'],
    currency: 'GBP',
    exponent: 2,
    total_minor: lines.reduce((sum, line) => sum + line.amount_minor, 0),
    flagged: n % 67 === 5,
  };
  return { row, cashier, lines };
}

/** The plate of 1,299.99 is sold seldom. */
const product_index = (i: number, from: ProductRow[]) =>
  from[i]!.price_centi > 1_000_000 && i !== 10 ? (i + 1) % from.length : i;

export function coverage(isComplete = false): Coverage {
  const tills = [
    {
      device: id(4, 1),
      name: 'Till 1',
      store: 'S01',
      state: 'current' as const,
      covers_to_ms: NOW - MINUTE,
      seen_at_ms: NOW - 2000,
      missing_commits: 0,
    },
    {
      device: id(4, 4),
      name: 'Kiosk',
      store: 'S02',
      state: 'current' as const,
      covers_to_ms: NOW - 9 * MINUTE,
      seen_at_ms: NOW - 4000,
      missing_commits: 0,
    },
  ];
  if (isComplete)
    return { asked_at_ms: NOW, complete: true, sentence: 'Covers all 2 tills to 14:23 UTC.', tills };
  return {
    asked_at_ms: NOW,
    complete: false,
    sentence: 'Covers 2 of 4 tills to 14:23 UTC; Till 2 silent for 47 min with 12 commits on the way.',
    tills: [
      ...tills,
      {
        device: id(4, 2),
        name: 'Till 2',
        store: 'S01',
        state: 'silent',
        covers_to_ms: NOW - 48 * MINUTE,
        seen_at_ms: NOW - 47 * MINUTE,
        missing_commits: 12,
      },
      {
        device: id(4, 3),
        name: TILLS[2]!.name,
        store: 'S01',
        state: 'never',
        covers_to_ms: null,
        seen_at_ms: null,
        missing_commits: 0,
      },
    ],
  };
}

const device = (n: number, more: Partial<DeviceView>): DeviceView => ({
  device: id(4, n),
  name: `Till ${n}`,
  kind: 'till',
  store: 'S01',
  series: `S01-T0${n}b`,
  software: 'evertill-node 0.1.0',
  enrolled_at_ms: NOW - 90 * DAY,
  state: 'current',
  connected: true,
  seen_at_ms: NOW - 2_000,
  last_entry_at_ms: NOW - 3 * MINUTE,
  unsent_commits: 0,
  clock_drift_ms: 180,
  ...more,
});

export const devices = (): DeviceView[] => [
  device(1, {}),
  device(2, {
    state: 'silent',
    connected: false,
    seen_at_ms: NOW - 47 * MINUTE,
    unsent_commits: 12,
    clock_drift_ms: -8_000,
  }),
  device(3, {
    name: TILLS[2]!.name,
    state: 'never',
    connected: false,
    seen_at_ms: null,
    last_entry_at_ms: null,
    series: '',
    software: '',
    clock_drift_ms: null,
  }),
  device(4, { name: 'Kiosk', store: 'S02', series: 'S02-T04a', clock_drift_ms: 134_000 }),
  device(5, {
    name: 'Handheld of Ben',
    kind: 'handheld',
    series: '',
    clock_drift_ms: 7_560_000,
    seen_at_ms: NOW - 3 * 60 * MINUTE,
    connected: false,
    state: 'silent',
  }),
  device(9, {
    name: 'Region north',
    kind: 'server',
    store: null,
    series: '',
    software: 'evertill-sync-server 0.1.0',
    clock_drift_ms: 0,
  }),
];

export const exceptions = (made: Sale[]): ExceptionRow[] => {
  const about = (n: number) => ({
    order: made[n]!.row.order,
    number: made[n]!.row.number,
    till: made[n]!.row.till,
    store: made[n]!.row.store,
    at_ms: made[n]!.row.at_ms,
  });
  return [
    {
      id: 'e1',
      kind: 'oversold',
      title: 'Sold more than was there',
      detail: 'White hanging heart T-light holder is at −3 in S01. Count the shelf and adjust the stock.',
      ...about(4),
      product: { product: id(1, 0), code: '85123A', name: 'White hanging heart T-light holder' },
      receipts: [],
      settled: null,
      review: null,
    },
    {
      id: 'e2',
      kind: 'forked',
      title: 'A till wrote two histories',
      detail:
        'Till 2 went on from an old backup. Both branches are kept and every sale counts once; find out who restored it and when.',
      at_ms: NOW - 26 * 60 * MINUTE,
      store: 'S01',
      till: 'Till 2',
      order: null,
      number: null,
      product: null,
      receipts: [],
      settled: null,
      review: null,
    },
    {
      id: 'e3',
      kind: 'oversold',
      title: 'Sold more than was there',
      detail: 'Party bunting is at −1 in S02. Count the shelf and adjust the stock.',
      ...about(60),
      product: { product: id(1, 3), code: '47566', name: 'Party bunting' },
      receipts: [],
      settled: null,
      review: null,
    },
    {
      id: 'e4',
      kind: 'refunded_twice',
      title: 'Refunded more than was sold',
      detail: 'Two tills that could not reach each other refunded the same cakestand. Look at both receipts.',
      ...about(90),
      product: null,
      receipts: [made[90]!.row, made[91]!.row],
      settled: null,
      review: { by: 'Dana Levi', at_ms: NOW - DAY, note: 'Talked to Ben, the customer brought one back.' },
    },
    {
      id: 'e5',
      kind: 'paid_twice',
      title: 'An open order was paid twice',
      detail: 'The same goods of open order Table 4 were paid with two receipts. Ask both cashiers who paid.',
      ...about(100),
      product: null,
      receipts: [made[100]!.row, made[101]!.row],
      settled: { at_ms: NOW - 3 * 60 * MINUTE, order: made[99]!.row.order, number: made[99]!.row.number },
      review: null,
    },
  ];
};

export const openOrders = (): OpenOrderRow[] =>
  [
    ['S01', 'Table 4', 'Birthday, brings own cake', 6, 8_430, 95, 12],
    ['S01', '', '', 1, 1_275, 61, 61],
    ['S02', 'Chiyo 田中', 'Comes back at four', 3, 2_990, 40, 5],
  ].map(([store, label, note, lines, total, opened, changed], n) => ({
    store: store as string,
    open_order: id(7, n),
    label: label as string,
    note: note as string,
    lines: lines as number,
    total_minor: total as number,
    currency: 'GBP',
    exponent: 2,
    opened_at_ms: NOW - (opened as number) * MINUTE,
    opened_by: PEOPLE[n]!,
    changed_at_ms: NOW - (changed as number) * MINUTE,
    changed_by: PEOPLE[0]!,
  }));

export const shifts = (): ShiftRow[] => {
  const shift = (n: number, more: Partial<ShiftRow>): ShiftRow => ({
    store: n === 2 ? 'S02' : 'S01',
    shift: id(9, n),
    till: `Till ${n + 1}`,
    business_day: '2026-03-02',
    opened_at_ms: NOW - (n + 6) * 60 * MINUTE,
    opened_by: PEOPLE[n]!,
    float_minor: 10_000,
    currency: 'GBP',
    exponent: 2,
    sales: 41,
    refunds: 2,
    sales_minor: 61_230,
    refunds_minor: 2_490,
    closing: null,
    addenda: [],
    ...more,
  });
  const closing = (difference: number, moved: number) => ({
    at_ms: NOW - 40 * MINUTE,
    by: PEOPLE[1]!,
    counted_minor: 68_740 + difference,
    expected_minor: 68_740,
    difference_minor: difference,
    difference_with_addenda_minor: difference - moved,
  });
  const addendum = (number: number, sales: number, minor: number) => ({
    number,
    first_receipt: `S01-T02${'abc'[number]}-000088`,
    last_receipt: `S01-T02${'abc'[number]}-0000${88 + sales}`,
    sales,
    refunds: 0,
    sales_minor: minor,
    refunds_minor: 0,
    cash_minor: minor,
  });
  return [
    shift(0, {}),
    shift(1, { closing: closing(4_120, 4_620), addenda: [addendum(1, 3, 4_120), addendum(2, 1, 500)] }),
    shift(2, { closing: closing(0, 0) }),
  ];
};

export function imports(): ImportView[] {
  const one = (n: number, more: Partial<ImportView>): ImportView => ({
    id: `import-${n}`,
    name: 'autumn-catalogue.csv',
    by: 'Dana Levi',
    at_ms: NOW - n * 3 * 60 * MINUTE,
    state: 'applied',
    done: 1240,
    rows: 1240,
    added: 312,
    changed: 74,
    unchanged: 854,
    wrong: 0,
    problems: [],
    changes: [],
    can_be_undone: more.state === undefined || more.state === 'applied',
    kept: 0,
    message: 'It is written: 312 products are new, 74 are changed.',
    ...more,
  });
  const changes: ImportView['changes'] = [
    {
      row: 2,
      code: '22423',
      name: 'Regency cakestand 3 tier',
      added: false,
      fields: [{ field: 'price', old: '£12.75', new: '£13.50' }],
    },
    {
      row: 3,
      code: '47566',
      name: 'Party bunting',
      added: false,
      fields: [
        { field: 'name', old: 'Party bunting', new: 'Party bunting, 4 m' },
        { field: 'category', old: '', new: 'Decoration' },
      ],
    },
    ...Array.from({ length: 30 }, (_, i) => ({
      row: 4 + i,
      code: `24${100 + i}`,
      name: `Enamel mug no. ${i + 1}`,
      added: true,
      fields: [
        { field: 'price', old: null, new: `£${5 + i}.95` },
        { field: 'tax', old: null, new: 'Standard rate' },
        { field: 'category', old: null, new: 'Kitchen' },
      ],
    })),
  ];
  return [
    one(1, {
      state: 'ready',
      added: 30,
      changed: 2,
      unchanged: 1208,
      changes,
      message: 'Read and compared. Nothing is written yet: apply it, or forget it.',
    }),
    one(2, {
      name: 'prices-from-the-supplier-with-a-rather-long-file-name-2026-11.csv',
      state: 'refused',
      wrong: 3,
      added: 12,
      changes,
      problems: [
        { row: 17, column: 'price', value: 'twelve', message: 'Write the price as a number such as 12.50.' },
        {
          row: 204,
          column: 'code',
          value: '22423',
          message: 'Row 2 has this code already: keep one of the two.',
        },
        {
          row: 311,
          column: '',
          value: '',
          message: 'The row has 4 columns instead of 8: a name with a comma needs quotes.',
        },
      ],
      message:
        'Three rows are not as they should be. Nothing is written: correct them and bring the file in again.',
    }),
    one(9, {}),
    one(30, { state: 'undone', kept: 2, message: 'It has been taken back.' }),
  ];
}
