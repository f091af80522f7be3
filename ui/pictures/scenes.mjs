/**
 * What the pictures of the till show: a view and, where needed, the steps to get there.
 * Scenes have `view`, `orders`, `openOrders`, `refuse` (an error for every command), `silent` (the node is gone after loading).
 */
import * as f from './fixtures.mjs';

const id = (page, testid) => page.getByTestId(testid);
const cart = f.cartOf(f.someLines);
const lines300 = Array.from({ length: 300 }, (_, i) =>
  f.line(`23${100 + i}`, `Ceramic cake bowl no. ${i + 1}`, (i % 9) + 1, 350 + i),
);
const error = (code, retry_after_ms = null) => ({ code, message: 'In words.', retry_after_ms });
const uncertain = { id: 'job-1', title: 'S01-T03b-000122', state: 'uncertain', problem: null };
const waiting = {
  id: 'job-2',
  title: 'S01-T03b-000123',
  state: 'queued',
  problem: 'The printer has no paper.',
};
const small = { width: 1024, height: 768 };
const phone = { width: 360, height: 740 };
const recalled = f.till({ cart: f.cartOf(f.someLines, { recalled: f.recalled }), open_orders: 17 });
const closed = f.till({
  cart: f.cartOf(f.someLines, { recalled: { ...f.recalled, is_closed: true } }),
  open_orders: 16,
});

async function search(page, text) {
  await id(page, 'go-count').click();
  await id(page, 'count-search').fill(text);
  await id(page, 'count-product').first().waitFor();
}

async function count(page) {
  await search(page, 'cake');
  await id(page, 'count-product').first().click();
  await id(page, 'count-field').fill('7');
  await page.getByRole('button', { name: 'Stocktaking', exact: true }).click();
}

export const tillScenes = [
  { name: 'token', view: f.till(), token: false },
  { name: 'waiting', view: f.till({ store: null, staff: [], signed_in: null, shift: null }) },
  { name: 'sign-in', view: f.till({ signed_in: null }) },
  {
    name: 'sign-in-wrong',
    view: f.till({ signed_in: null }),
    refuse: error('wrong_pin'),
    async steps(page) {
      await id(page, 'staff-tile').first().click();
      await page.keyboard.type('1234', { delay: 60 });
      await page.keyboard.press('Enter');
      await id(page, 'pin-error').waitFor();
      await page.keyboard.type('12', { delay: 60 });
    },
  },
  {
    name: 'sign-in-locked',
    view: f.till({ signed_in: null, staff: f.manyStaff }),
    refuse: error('pin_locked', 95_000),
    async steps(page) {
      await id(page, 'staff-tile').nth(4).click();
      for (const digit of '1234') await id(page, `key-${digit}`).click();
      await id(page, 'sign-in').click();
      await id(page, 'pin-wait').waitFor();
    },
  },
  { name: 'open-shift', view: f.till({ shift: null }) },
  {
    name: 'open-shift-after-close',
    view: f.till({
      shift: null,
      last_closed_shift: f.closedShift(),
    }),
    steps: (page) => id(page, 'float').fill('100.00'),
  },
  {
    name: 'open-shift-addendum',
    view: f.till({ shift: null, last_closed_shift: f.shifts[0] }),
    shifts: f.shifts,
    async steps(page) {
      await id(page, 'earlier-shift').first().click();
    },
  },
  { name: 'sell-empty', view: f.till(), products: [] },
  { name: 'sell', view: f.till({ cart }) },
  { name: 'sell-1024', view: f.till({ cart }), size: small },
  {
    name: 'sell-offline',
    view: f.till({ cart, link: f.offline, last_order: null }),
    async steps(page) {
      await id(page, 'search').fill('cake');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
    },
  },
  {
    name: 'search-none',
    view: f.till({ cart }),
    products: [],
    steps: async (page) => {
      await id(page, 'search').fill('xylophone of quite unreasonable length');
      await id(page, 'search-none').waitFor();
    },
  },
  { name: 'sell-hard', view: f.till({ cart: f.cartOf(f.hardLines) }) },
  { name: 'sell-hard-1024', view: f.till({ cart: f.cartOf(f.hardLines) }), size: small },
  { name: 'sell-yen', view: f.till({ store: f.jpy, cart: f.cartOf(f.someLines) }) },
  {
    name: 'sell-300',
    view: f.till({ cart: f.cartOf(lines300) }),
    async steps(page) {
      for (const key of ['ArrowUp', 'ArrowUp', 'ArrowUp']) await page.keyboard.press(key);
    },
  },
  {
    name: 'sell-unknown',
    view: f.till({ cart }),
    refuse: error('unknown_code'),
    async steps(page) {
      for (const code of ['5012345678900', '4006381333931']) {
        await page.keyboard.type(code);
        await page.keyboard.press('Enter');
      }
      await id(page, 'notice').nth(1).waitFor();
      await page.keyboard.type('6*', { delay: 60 });
    },
  },
  { name: 'quantity', view: f.till({ cart }), steps: (page) => id(page, 'edit-quantity').click() },
  { name: 'pay', view: f.till({ cart }), steps: (page) => page.keyboard.press('F9') },
  { name: 'pay-1024', view: f.till({ cart }), size: small, steps: (page) => page.keyboard.press('F9') },
  {
    name: 'pay-change',
    view: f.till({ cart }),
    async steps(page) {
      await page.keyboard.press('F9');
      await id(page, 'quick-cash').nth(2).click();
    },
  },
  {
    name: 'pay-short-huge',
    view: f.till({ cart: f.cartOf(f.hardLines) }),
    async steps(page) {
      await page.keyboard.press('F9');
      await id(page, 'tender').fill('20');
    },
  },
  { name: 'settled', view: f.till({ last_order: f.settled }) },
  {
    name: 'settled-attention',
    view: f.till({
      last_order: {
        ...f.settled,
        print: 'uncertain',
        drawer: 'open_by_key',
        durability: 'device',
        change_minor: 123_456_789,
      },
      print_jobs: [uncertain, waiting],
      link: f.offline,
    }),
  },
  {
    name: 'settled-refund-beside-cart',
    view: f.till({
      cart,
      last_order: { ...f.settled, is_refund: true, total_minor: -1_275, change_minor: 0 },
    }),
  },
  {
    name: 'refund-cart',
    view: f.till({
      cart: f.cartOf(f.someLines.slice(0, 2), { is_refund: true, reason: 'Receipt lost in the rain' }),
    }),
    steps: (page) => page.keyboard.press('F9'),
  },
  { name: 'park', view: f.till({ cart, open_orders: 2 }), steps: (page) => page.keyboard.press('F10') },
  {
    name: 'park-phone',
    view: f.till({ cart, open_orders: 2 }),
    size: phone,
    async steps(page) {
      await id(page, 'park').click();
      await id(page, 'park-label').fill('Table 4');
      await id(page, 'park-note').fill('x'.repeat(1_001));
    },
  },
  { name: 'park-again', view: recalled, steps: (page) => page.keyboard.press('F10') },
  { name: 'parked', view: f.till({ open_orders: 17 }), steps: (page) => page.keyboard.press('F3') },
  {
    name: 'parked-phone',
    view: f.till({ open_orders: 17 }),
    size: phone,
    steps: (page) => page.keyboard.press('F3'),
  },
  {
    name: 'parked-none',
    view: f.till(),
    openOrders: [],
    steps: (page) => page.keyboard.press('F3'),
  },
  { name: 'parked-cart-full', view: recalled, steps: (page) => page.keyboard.press('F3') },
  {
    name: 'parked-give-up',
    view: f.till({ open_orders: 17 }),
    async steps(page) {
      await page.keyboard.press('F3');
      await id(page, 'give-up').first().click();
    },
  },
  { name: 'recalled', view: recalled, steps: (page) => id(page, 'clear-cart').click() },
  {
    name: 'recalled-1024',
    view: recalled,
    size: small,
    steps: (page) => page.keyboard.type('6*', { delay: 60 }),
  },
  { name: 'recalled-phone', view: recalled, size: phone },
  {
    name: 'recalled-nothing-left',
    view: f.till({ cart: { ...f.till().cart, recalled: { ...f.recalled, label: '' } }, open_orders: 17 }),
  },
  { name: 'recalled-closed', view: closed },
  { name: 'recalled-closed-phone', view: closed, size: phone },
  { name: 'history', view: f.till({ cart }), steps: (page) => page.keyboard.press('F4') },
  { name: 'history-empty', view: f.till(), orders: [], steps: (page) => page.keyboard.press('F4') },
  {
    name: 'order-refund',
    view: f.till(),
    async steps(page) {
      await page.keyboard.press('F4');
      await id(page, 'history-order').first().click();
      await id(page, 'refund-more').first().click();
      await id(page, 'refund-more').first().click();
      await page.getByRole('button', { name: 'Damaged', exact: true }).click();
    },
  },
  {
    name: 'order-paid-twice',
    view: f.till(),
    order: f.orderPaidTwice,
    async steps(page) {
      await page.keyboard.press('F4');
      await id(page, 'history-order').first().click();
      await id(page, 'refund-twice').waitFor();
    },
  },
  {
    name: 'order-paid-twice-1024',
    view: f.till(),
    order: f.orderPaidTwice,
    size: small,
    async steps(page) {
      await page.keyboard.press('F4');
      await id(page, 'history-order').first().click();
      await id(page, 'refund-twice').waitFor();
    },
  },
  { name: 'count-search', view: f.till(), steps: (page) => search(page, 'cake') },
  { name: 'count', view: f.till(), steps: count },
  { name: 'count-1024', view: f.till(), size: small, steps: count },
  { name: 'count-phone', view: f.till(), size: phone, steps: count },
  { name: 'start-refund', view: f.till(), steps: (page) => page.keyboard.press('F6') },
  { name: 'no-sale', view: f.till(), steps: (page) => page.keyboard.press('F8') },
  { name: 'close-shift', view: f.till(), steps: (page) => page.keyboard.press('F7') },
  { name: 'close-shift-1024', view: f.till(), size: small, steps: (page) => page.keyboard.press('F7') },
  { name: 'keys', view: f.till({ cart }), steps: (page) => page.keyboard.press('?') },
  {
    name: 'link',
    view: f.till({ cart, link: f.offline, last_order: null }),
    steps: (page) => id(page, 'link-badge').click(),
  },
  {
    name: 'unreachable',
    view: f.till({ cart }),
    goesSilent: true,
    async steps(page) {
      await page.keyboard.press('+');
      await id(page, 'connection-line').waitFor();
    },
  },
  { name: 'narrow', view: f.till({ cart }), size: { width: 600, height: 900 } },
];
