/** Views of a made-up shop, for pictures only. Names, amounts and people are invented. */

const NOW = Date.now();
export const MINUTE = 60_000;

export const gbp = { code: 'S01', name: 'Harbour Street', currency: 'GBP', exponent: 2, tax_included: true };
export const jpy = { code: 'S07', name: '港町店', currency: 'JPY', exponent: 0, tax_included: false };

const person = (n, name, role) => ({
  id: `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`,
  name,
  role,
});
export const staff = [
  person(1, 'Amara Okafor', 'cashier'),
  person(2, 'Ben Whitaker', 'cashier'),
  person(3, 'Chiyo 田中', 'shift_lead'),
  person(4, 'Dana Levi', 'manager'),
];
export const manyStaff = [
  ...staff,
  person(5, 'Maximiliana Theodora von Hohenstein-Wolfenbüttel', 'cashier'),
  person(6, 'محمد عبد الرحمن الهاشمي', 'cashier'),
  ...Array.from({ length: 24 }, (_, i) => person(10 + i, `Seasonal helper ${i + 1}`, 'cashier')),
];

const leadMay = {
  may_refund_payment: true,
  may_refund_without_sale: true,
  may_override_price: true,
  may_adjust_stock: true,
  may_open_drawer: true,
};

export const line = (code, name, pieces, price, rate = 2000) => ({
  code,
  name,
  quantity_milli: Math.round(pieces * 1000),
  unit_price: price * 100,
  tax_rate_bp: rate,
  amount_minor: Math.round(pieces * price),
});

const emptyCart = {
  order: '01890000-0000-7000-8000-000000000001',
  is_refund: false,
  reason: null,
  lines: [],
  touched: null,
  taxes: [],
  total_minor: 0,
  recalled: null,
  quick_cash_minor: [],
};

export function cartOf(lines, more = {}) {
  const total = lines.reduce((sum, l) => sum + l.amount_minor, 0);
  const rates = [...new Set(lines.map((l) => l.tax_rate_bp))];
  const taxes = rates.map((rate_bp) => {
    const gross = lines.filter((l) => l.tax_rate_bp === rate_bp).reduce((sum, l) => sum + l.amount_minor, 0);
    const net_minor = Math.round((gross * 10_000) / (10_000 + rate_bp));
    return { rate_bp, net_minor, tax_minor: gross - net_minor };
  });
  const notes = [500, 1000, 2000, 5000, 10_000].map((note) => Math.ceil(total / note) * note);
  const quick_cash_minor = [...new Set([total, ...notes])].sort((a, b) => a - b).slice(0, 5);
  return {
    ...emptyCart,
    lines,
    touched: lines.length - 1,
    taxes,
    total_minor: total,
    quick_cash_minor,
    ...more,
  };
}

export const someLines = [
  line('85123A', 'White hanging heart T-light holder', 6, 255),
  line('22423', 'Regency cakestand 3 tier', 1, 1275),
  line('84879', 'Assorted colour bird ornament', 8, 169),
  line('21730', 'Glass star frosted T-light holder', 1, 425, 500),
];

export const hardLines = [
  line(
    '1',
    'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft commemorative plate',
    12,
    129_999,
  ),
  line('2', 'كوب شاي زجاجي مزخرف بخط يدوي', 3, 899),
  line('3', '手描き九谷焼湯呑み茶碗 桐箱入り 五客揃え 伝統工芸品', 1, 4_980_000),
  line('4', 'Loose leaf tea, by weight', 0.125, 2_480, 0),
  line('5', 'Container of bricks', 99_999, 99_999),
];

export const settled = {
  order: '01890000-0000-7000-8000-0000000000aa',
  receipt: 'S01-T03b-000123',
  is_refund: false,
  total_minor: 4_582,
  tendered_minor: 5_000,
  change_minor: 418,
  durability: 'regional',
  print: 'confirmed',
  drawer: 'kicked',
};

export const shift = {
  id: '01890000-0000-7000-8000-0000000000bb',
  business_day: '2026-11-21',
  opened_at_ms: NOW - 200 * MINUTE,
  float_minor: 10_000,
  expected_minor: 84_210,
  sales: 61,
  refunds: 2,
  sales_minor: 76_190,
  refunds_minor: 1_980,
};

const online = {
  state: 'online',
  unsent: 0,
  not_central: 0,
  last_contact_ms: NOW - 2000,
  problem: null,
  history_percent: null,
};
export const offline = {
  state: 'offline',
  unsent: 12,
  not_central: 14,
  last_contact_ms: NOW - 47 * MINUTE,
  problem: 'The regional server does not answer.',
};

/** A till that sells; `more` replaces parts. */
export const till = (more = {}) => ({
  store: gbp,
  till: { name: 'Till 3', series: 'S01-T03b' },
  staff,
  signed_in: { staff: staff[2], ...leadMay },
  shift,
  last_closed_shift: null,
  cart: emptyCart,
  open_orders: 0,
  last_order: null,
  link: online,
  print_jobs: [],
  print_jobs_more: 0,
  ...more,
});

export const closedShift = (more = {}) => ({
  shift,
  till: 'Till 3',
  title: 'Z S01-T03b 2026-03-02 18:04',
  closed_at_ms: NOW - 20 * MINUTE,
  counted_minor: 83_910,
  difference_minor: -300,
  addenda: [],
  difference_with_addenda_minor: -300,
  ...more,
});
const addendum = (number, sales, minor) => ({
  number,
  first_receipt: `S01-T03${'abcd'[number]}-000118`,
  last_receipt: `S01-T03${'abcd'[number]}-000${118 + sales}`,
  sales,
  refunds: 1,
  sales_minor: minor,
  refunds_minor: 250,
  cash_minor: minor - 250,
});
export const shifts = [
  closedShift({
    addenda: [addendum(1, 4, 6_210), addendum(2, 1, 1_275)],
    difference_with_addenda_minor: -7_285,
  }),
  closedShift({
    shift: { ...shift, id: 'shift-2' },
    till: 'Till 1',
    title: 'Z S01-T01a 2026-03-02 14:31',
    addenda: [addendum(1, 2, 3_300)],
    difference_with_addenda_minor: -3_350,
  }),
  closedShift({ shift: { ...shift, id: 'shift-3' }, till: 'Till 3', title: 'Z S01-T03b 2026-03-01 18:00' }),
];

const product = (n, code, name, price, stock) => ({
  id: `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`,
  code,
  name,
  unit_price: price * 100,
  stock_milli: stock * 1000,
});
export const products = [
  product(1, '22423', 'Regency cakestand 3 tier', 1275, 34),
  product(2, '22424', 'Enamel bread bin cream', 1095, 4),
  product(3, '22457', 'Natural slate heart chalkboard', 295, 0),
  product(4, '22469', 'Heart of wicker small', 165, 212),
  product(5, '22470', 'Heart of wicker large', 295, -3),
  product(
    6,
    '22720',
    'Set of 3 cake tins pantry design, with a name that goes on for rather longer than the panel is wide',
    495,
    71,
  ),
  { ...product(7, '22197', 'Popcorn holder, sold by the hundred', 85, 1400), unit_price: 8_450 },
  ...Array.from({ length: 30 }, (_, i) =>
    product(20 + i, `23${100 + i}`, `Ceramic cake bowl no. ${i + 1}`, 350 + i * 15, i * 3),
  ),
];

const parked = (n, label, minutes, more = {}) => ({
  open_order: `01890000-0000-7000-8000-00000000${2000 + n}`,
  label,
  note: '',
  lines: (n % 5) + 1,
  total_minor: 1_275 + n * 811,
  opened_at_ms: NOW - (minutes + 20) * MINUTE,
  opened_by: staff[1].name,
  changed_at_ms: NOW - minutes * MINUTE,
  changed_by: staff[n % 4].name,
  ...more,
});
export const openOrders = [
  parked(0, 'Table 4', 0, { note: 'Two more coffees to come' }),
  parked(1, 'Mrs Adeyemi', 4),
  parked(2, '', 11, { note: 'Fetches her purse from the car', lines: 1 }),
  parked(3, 'الطاولة رقم ٧', 38),
  parked(4, 'The choir of the harbour church, together with everybody who came along afterwards', 95, {
    note: 'They pay together, by the rector, who comes at six; the two at the window pay for themselves and are not in this.',
    total_minor: 12_345_678,
  }),
  ...Array.from({ length: 12 }, (_, n) => parked(5 + n, `Table ${10 + n}`, 130 + n * 150)),
];
export const recalled = {
  open_order: openOrders[0].open_order,
  label: 'Table 4',
  note: 'Two more coffees to come',
  is_closed: false,
};

const summary = (n, more = {}) => ({
  order: `01890000-0000-7000-8000-00000000${1000 + n}`,
  receipt: `S01-T0${(n % 3) + 1}b-00${String(900 - n)}`,
  is_refund: n % 9 === 4,
  at_ms: NOW - n * 13 * MINUTE,
  total_minor: n % 9 === 4 ? -1_275 : 1_275 + n * 311,
  lines: (n % 7) + 1,
  till: `Till ${(n % 3) + 1}`,
  is_here: true,
  is_paid_twice: n === 5 || n === 6,
  durability: n < 2 ? 'device' : n < 4 ? 'regional' : 'central',
  ...more,
});
export const orders = Array.from({ length: 60 }, (_, n) => summary(n));

export const order = {
  summary: summary(3, { receipt: 'S01-T03b-000123', total_minor: 4_582, lines: 4 }),
  cashier: 'Amara Okafor',
  lines: someLines.map((l, i) => ({
    name: l.name,
    quantity_milli: l.quantity_milli,
    unit_price: l.unit_price,
    amount_minor: l.amount_minor,
    refundable_milli: i === 1 ? 0 : i === 2 ? 5000 : l.quantity_milli,
  })),
  taxes: [],
  original: null,
  reason: null,
  refunds: [
    {
      receipt: 'S01-T02b-000881',
      till: 'Till 2',
      cashier: 'Ben Whitaker',
      at_ms: NOW - 40 * MINUTE,
      amount_minor: 1_275,
    },
  ],
  paid_twice: null,
  next_refund: '01890000-0000-7000-8000-0000000000cc',
};

export const orderPaidTwice = {
  ...order,
  refunds: [],
  paid_twice: { label: 'Table 4', others: ['S01-T02b-000894'], amount_minor: 4_582 },
};
