import { cleanup, fireEvent, render, screen, within } from '@testing-library/svelte';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Command, TillView } from '../src/lib/api/node.gen';
import Durability from '../src/lib/components/Durability.svelte';
import { Till } from '../src/lib/till.svelte';
import TillApp from '../src/views/TillApp.svelte';
import { Clock, FakeNode, line, refusal, settled, tillView } from './fakes';

const SCANNER_MS = 5;
const FINGERS_MS = 150;
let now = 1_000;
let till: Till;

beforeEach(() => (now = 1_000));
afterEach(cleanup);

async function show(view: TillView): Promise<FakeNode> {
  const node = new FakeNode(view);
  till = new Till(node, { beep: () => {}, pause: new Clock().pause });
  render(TillApp, { till });
  await settled();
  return node;
}

/** Presses a key where the focus is, so many milliseconds after the key before. */
async function press(key: string, afterMs = FINGERS_MS): Promise<KeyboardEvent> {
  now += afterMs;
  const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true });
  Object.defineProperty(event, 'timeStamp', { value: now });
  (document.activeElement ?? document.body).dispatchEvent(event);
  await settled();
  return event;
}

async function type(text: string, gapMs: number) {
  now += 1_000;
  for (const key of text) await press(key, gapMs);
  await press('Enter', gapMs);
}

const sent = (node: FakeNode, kind: Command['type']) => node.commands.filter((c) => c.type === kind);
const apples = [line('A', 'Apple', 6, 255), line('B', 'Bread', 1, 1_275)];

test('the cart shows every line with quantity and amount, and the total', async () => {
  await show(tillView(apples));
  const lines = screen.getAllByTestId('cart-line');
  expect(lines).toHaveLength(2);
  expect(within(lines[0]!).getByTestId('line-quantity').textContent).toBe('6');
  expect(within(lines[0]!).getByTestId('line-amount').textContent).toBe('£15.30');
  expect(lines[0]!.textContent).toContain('£2.55 each');
  expect(screen.getByTestId('total').textContent).toBe('£28.05');
  expect(screen.getByText('Including tax 20%')).toBeTruthy();
});

test('a burst that is not typed into a field adds a line by code', async () => {
  const node = await show(tillView());
  await type('5012345678900', SCANNER_MS);
  await type('6*85123A', SCANNER_MS);
  expect(node.commands).toMatchObject([
    { type: 'add_line', item: { by: 'code', code: '5012345678900' }, quantity_milli: null },
    { type: 'add_line', item: { by: 'code', code: '85123A' }, quantity_milli: 6_000 },
  ]);
});

test('an unknown code does not block the next scan', async () => {
  const node = await show(tillView());
  node.reply = (command, view) =>
    command.type === 'add_line' && command.item.by === 'code' && command.item.code === 'XXXX'
      ? refusal('unknown_code')
      : tillView(apples, { till: view.till });
  await type('XXXX', SCANNER_MS);
  expect(screen.getByTestId('notice').textContent).toContain('XXXX');
  expect(document.querySelector('dialog')).toBeNull();
  await type('85123A', SCANNER_MS);
  expect(screen.getAllByTestId('cart-line')).toHaveLength(2);
});

test('a cash-exact sale takes two keys', async () => {
  const node = await show(tillView(apples));
  await press('F9');
  expect((screen.getByTestId('tender') as HTMLInputElement).value).toBe('28.05');
  await press('Enter');
  expect(node.commands).toEqual([{ type: 'settle_cash', order: 'order-1', tendered_minor: 2_805 }]);
});

test('typed digits replace the exact amount, and the change is shown before it is taken', async () => {
  const node = await show(tillView(apples));
  await press('F9');
  for (const key of '30') await press(key);
  expect(screen.getByTestId('change-preview').textContent?.trim()).toBe('£1.95');
  await press('Enter');
  expect(sent(node, 'settle_cash')).toMatchObject([{ tendered_minor: 3_000 }]);
});

test('too little cash cannot be taken', async () => {
  const node = await show(tillView(apples));
  await press('F9');
  for (const key of '20') await press(key);
  expect((screen.getByTestId('take-cash') as HTMLButtonElement).disabled).toBe(true);
  await press('Enter');
  expect(sent(node, 'settle_cash')).toEqual([]);
});

test('a double tap on the payment pays one order, once', async () => {
  const node = await show(tillView(apples));
  node.reply = (_, view) => {
    const next = tillView([line('C', 'Next customer', 1, 99)]);
    return { ...next, till: view.till, cart: { ...next.cart, order: 'order-2' } };
  };
  node.isSlow = true;
  await press('F9');
  const button = screen.getByTestId('take-cash');
  void fireEvent.click(button);
  void fireEvent.click(button);
  await settled();
  await node.answer();
  void fireEvent.click(button);
  await settled();
  await node.answer();
  expect(sent(node, 'settle_cash')).toEqual([
    { type: 'settle_cash', order: 'order-1', tendered_minor: 2_805 },
  ]);
  // The third tap met the next customer's order: it asks for money, it does not take any.
  expect(screen.getByTestId('tender')).toBeTruthy();
});

test('a double tap on Pay asks for money and does not take it', async () => {
  const node = await show(tillView(apples));
  await fireEvent.click(screen.getByTestId('pay'), { detail: 1 });
  await fireEvent.click(screen.getByTestId('take-cash'), { detail: 2 });
  expect(node.commands).toEqual([]);
  await fireEvent.click(screen.getByTestId('take-cash'), { detail: 1 });
  expect(sent(node, 'settle_cash')).toHaveLength(1);
});

test('a payment names the order that was on the screen, even when another is in the cart by its turn', async () => {
  const node = await show(tillView(apples));
  node.reply = (_, view) => ({ ...view, cart: { ...view.cart, order: 'order-2' } });
  node.isSlow = true;
  await type('5012345678900', SCANNER_MS);
  await press('F9');
  await press('Enter');
  await node.answer();
  expect(sent(node, 'settle_cash')).toMatchObject([{ order: 'order-1' }]);
});

test('a scan that falls into a payment waits and lands in the next cart', async () => {
  const node = await show(tillView(apples));
  node.isSlow = true;
  await press('F9');
  await press('Enter');
  await type('5012345678900', SCANNER_MS);
  expect(node.commands.map((c) => c.type)).toEqual(['settle_cash']);
  await node.answer();
  expect(node.commands.map((c) => c.type)).toEqual(['settle_cash', 'add_line']);
});

test('a scan into the amount field becomes a line, not an amount', async () => {
  const node = await show(tillView(apples));
  await press('F9');
  await type('5012345678900', SCANNER_MS);
  expect(node.commands).toMatchObject([{ type: 'add_line', item: { code: '5012345678900' } }]);
  const tender = screen.getByTestId('tender') as HTMLInputElement;
  expect(tender.value).toBe('28.05');
  expect(sent(node, 'settle_cash')).toEqual([]);
});

test('the exact amount follows the cart while nobody has typed another', async () => {
  const node = await show(tillView(apples));
  node.reply = () => tillView([...apples, line('C', 'Cheese', 1, 1_000)]);
  await press('F9');
  await type('5012345678900', SCANNER_MS);
  expect((screen.getByTestId('tender') as HTMLInputElement).value).toBe('38.05');
});

test('the change stays large until the next line', async () => {
  const settledOrder = {
    order: 'order-0',
    receipt: 'S01-T03b-000123',
    is_refund: false,
    total_minor: 4_582,
    tendered_minor: 5_000,
    change_minor: 418,
    durability: 'device' as const,
    print: 'queued' as const,
    drawer: 'open_by_key' as const,
  };
  await show(tillView([], { last_order: settledOrder }));
  expect(screen.getByTestId('change').textContent?.trim()).toBe('£4.18');
  expect(screen.getByText('Open the drawer by key')).toBeTruthy();
  expect((screen.getByTestId('pay') as HTMLButtonElement).disabled).toBe(true);
});

test('lines are chosen, changed and removed by keyboard', async () => {
  const node = await show(tillView(apples));
  await press('ArrowUp');
  await press('ArrowUp');
  await press('+');
  await type('12', FINGERS_MS);
  await press('Delete');
  expect(node.commands).toEqual([
    { type: 'set_quantity', line: 0, quantity_milli: 7_000 },
    { type: 'set_quantity', line: 0, quantity_milli: 12_000 },
    { type: 'remove_line', line: 0 },
  ]);
});

test('digits typed by hand with no line chosen are a code', async () => {
  const node = await show(tillView(apples));
  await type('22423', FINGERS_MS);
  expect(node.commands).toMatchObject([{ type: 'add_line', item: { by: 'code', code: '22423' } }]);
});

test('the search lists products and Enter adds the one that is highlighted', async () => {
  const node = await show(tillView());
  const product = (id: string) => ({
    id,
    code: id,
    name: `Cake ${id}`,
    unit_price: 10_000,
    stock_milli: 5_000,
    picture: null as string | null,
  });
  node.products = [product('p1'), product('p2')];
  const search = screen.getByTestId('search');
  search.focus();
  await fireEvent.input(search, { target: { value: 'cake' } });
  await settled();
  expect(screen.getAllByTestId('product')).toHaveLength(2);
  await press('ArrowDown');
  await press('ArrowDown');
  await press('Enter');
  expect(node.commands).toMatchObject([{ type: 'add_line', item: { by: 'product', product: 'p2' } }]);
  expect((search as HTMLInputElement).value).toBe('');
});

test('the search shows the pictures of its products, and a price that changes while it is open', async () => {
  const node = await show(tillView());
  const product = (id: string, picture: string | null) => ({
    id,
    code: id,
    name: `Cake ${id}`,
    unit_price: 10_000,
    stock_milli: 5_000,
    picture,
  });
  node.products = [product('p1', 'pic1'), product('p2', null), product('p3', 'gone')];
  await fireEvent.input(screen.getByTestId('search'), { target: { value: 'cake' } });
  await vi.waitFor(() => expect(screen.getAllByTestId('picture')).toHaveLength(1));
  node.products = [{ ...product('p1', null), unit_price: 12_500 }];
  node.announce({ type: 'catalogue_changed' });
  await vi.waitFor(() => expect(screen.getByTestId('product').textContent).toContain('1.25'));
  expect(screen.queryByTestId('picture')).toBeNull();
});

test('a question about an uncertain receipt is answered in place', async () => {
  const job = { id: 'job-1', title: 'S01-T03b-000122', state: 'uncertain' as const, problem: null };
  const node = await show(tillView([], { print_jobs: [job] }));
  await fireEvent.click(screen.getByTestId('print-not-out'));
  expect(node.commands).toEqual([{ type: 'resolve_print', job: 'job-1', came_out: false }]);
});

test('what the role forbids is not offered', async () => {
  const view = tillView();
  const may = { ...view.signed_in!, may_refund_without_sale: false, may_open_drawer: false };
  await show({ ...view, signed_in: may });
  expect(screen.queryByTestId('go-drawer')).toBeNull();
  expect(screen.queryByTestId('go-start-refund')).toBeNull();
  await press('F8');
  expect(screen.queryByTestId('open-drawer')).toBeNull();
});

test('the badge says link, unsent and durability', async () => {
  const link = {
    state: 'offline' as const,
    way: null,
    unsent: 12,
    not_central: 14,
    neighbours: 2,
    last_contact_ms: null,
    problem: null,
    history_percent: null,
  };
  await show(tillView([], { link }));
  const badge = screen.getByTestId('link-badge');
  expect(badge.dataset['state']).toBe('offline');
  expect(badge.textContent).toContain('Offline');
  expect(badge.textContent).toContain('12 to send');
  await fireEvent.click(badge);
  expect(screen.getByTestId('neighbours').textContent).toBe('2');
});

test('the badge says which way the link goes', async () => {
  const { link } = tillView();
  await show(tillView([], { link: { ...link, way: 'tcp' } }));
  await fireEvent.click(screen.getByTestId('link-badge'));
  expect(screen.getByTestId('link-way').textContent).toContain('TCP');
});

test('a new till says how much of the history has arrived', async () => {
  const { link } = tillView();
  await show(tillView([], { link: { ...link, history_percent: 43 } }));
  expect(screen.getByTestId('history-arriving').textContent).toContain('43');
  await fireEvent.click(screen.getByTestId('link-badge'));
  expect(screen.getByText(/43 % have arrived/)).toBeTruthy();
});

test('a server that is busy is no problem', async () => {
  const { link } = tillView();
  await show(tillView([], { link: { ...link, state: 'busy', way: null } }));
  expect(screen.getByTestId('link-badge').textContent).toContain('Server busy');
  await fireEvent.click(screen.getByTestId('link-badge'));
  expect(screen.queryByTestId('link-way')).toBeNull();
});

test('a sale that only another till of the store has too says so', async () => {
  render(Durability, { level: 'neighbour', hasWords: true });
  const shown = screen.getByTestId('durability');
  expect(shown.textContent).toContain('another one of the store');
  expect(shown.querySelectorAll('i.held').length).toBe(1);
  expect(shown.querySelectorAll('i.near').length).toBe(1);
});

test('Enter held down on Pay opens the payment once and takes nothing', async () => {
  const node = await show(tillView(apples));
  const pay = screen.getByTestId('pay');
  pay.focus();
  const held = new KeyboardEvent('keydown', { key: 'Enter', repeat: true, bubbles: true, cancelable: true });
  pay.dispatchEvent(held);
  await settled();
  expect(held.defaultPrevented).toBe(true);
  expect(sent(node, 'settle_cash')).toHaveLength(0);
});
