/** Putting carts aside, and taking them up again. */
import { cleanup, fireEvent, render, screen, within } from '@testing-library/svelte';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CartView, Command, OpenOrderView, RecalledView, TillView } from '../src/lib/api/node.gen';
import { Till } from '../src/lib/till.svelte';
import TillApp from '../src/views/TillApp.svelte';
import { Clock, FakeNode, line, refusal, settled, tillView } from './fakes';

const MINUTE = 60_000;
const SCANNER_MS = 5;
const FINGERS_MS = 150;
const apples = [line('A', 'Apple', 6, 255), line('B', 'Bread', 1, 1_275)];
const table: RecalledView = { open_order: 'open-1', label: 'Table 4', note: 'Two coffees', is_closed: false };
let now = 1_000;

beforeEach(() => (now = 1_000));
afterEach(cleanup);

const withCart = (cart: Partial<CartView>, lines = apples, more: Partial<TillView> = {}): TillView => {
  const view = tillView(lines, more);
  return { ...view, cart: { ...view.cart, ...cart } };
};

function openOrder(id: string, label: string, more: Partial<OpenOrderView> = {}): OpenOrderView {
  return {
    open_order: id,
    label,
    note: '',
    lines: 2,
    total_minor: 2_805,
    opened_at_ms: Date.now() - 30 * MINUTE,
    opened_by: 'Ben',
    changed_at_ms: Date.now() - 4 * MINUTE,
    changed_by: 'Amara',
    ...more,
  };
}

async function show(view: TillView, openOrders: OpenOrderView[] = []): Promise<FakeNode> {
  const node = new FakeNode(view);
  node.openOrders = openOrders;
  render(TillApp, { till: new Till(node, { beep: () => {}, pause: new Clock().pause }) });
  await settled();
  return node;
}

/** Presses a key where the focus is, so many milliseconds after the key before. */
async function press(key: string, afterMs = FINGERS_MS, more: KeyboardEventInit = {}) {
  now += afterMs;
  const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more });
  Object.defineProperty(event, 'timeStamp', { value: now });
  (document.activeElement ?? document.body).dispatchEvent(event);
  await settled();
}

const input = (testid: string) => screen.getByTestId(testid) as HTMLInputElement;
const button = (testid: string) => screen.getByTestId(testid) as HTMLButtonElement;
const write = (testid: string, value: string) => fireEvent.input(input(testid), { target: { value } });
const sent = (node: FakeNode, kind: Command['type']) => node.commands.filter((c) => c.type === kind);
const asked = (node: FakeNode) => node.queries.filter((query) => query.type === 'open_orders');

test('a sale with lines is parked with F10, a label, a note and Enter', async () => {
  const node = await show(tillView(apples));
  expect(screen.getByTestId('park').textContent).toContain('Park');
  await press('F10');
  expect(document.activeElement).toBe(input('park-label'));
  await write('park-label', ' Table 7 ');
  await write('park-note', 'By the window');
  await press('Enter');
  expect(node.commands).toEqual([
    { type: 'park', order: 'order-1', label: 'Table 7', note: 'By the window' },
  ]);
  expect(screen.queryByTestId('park-label')).toBeNull();
});

test('neither a label nor a note is needed', async () => {
  const node = await show(tillView(apples));
  await fireEvent.click(button('park'));
  await fireEvent.click(button('park-submit'));
  expect(node.commands).toEqual([{ type: 'park', order: 'order-1', label: '', note: '' }]);
});

test('an empty cart, a refund and an order that is closed elsewhere are not parked', async () => {
  for (const view of [
    tillView(),
    withCart({ is_refund: true, reason: 'Damaged' }),
    withCart({ recalled: { ...table, is_closed: true } }),
  ]) {
    await show(view);
    expect((screen.queryByTestId('park') as HTMLButtonElement | null)?.disabled ?? true).toBe(true);
    await press('F10');
    expect(screen.queryByTestId('park-label')).toBeNull();
    cleanup();
  }
});

test('a recalled order is put back under the label and the note that it has', async () => {
  const node = await show(withCart({ recalled: table }));
  expect(screen.getByTestId('park').textContent).toContain('Put back');
  await press('F10');
  expect([input('park-label').value, input('park-note').value]).toEqual(['Table 4', 'Two coffees']);
  await press('Enter');
  expect(node.commands).toEqual([{ type: 'park', order: 'order-1', label: 'Table 4', note: 'Two coffees' }]);
});

test('a label of 200 bytes is taken and a longer one is not, however few letters it has', async () => {
  const node = await show(tillView(apples));
  await press('F10');
  await write('park-label', 'é'.repeat(101));
  expect(screen.getByRole('alert').textContent).toContain('too long');
  expect(button('park-submit').disabled).toBe(true);
  await press('Enter');
  expect(node.commands).toEqual([]);
  await write('park-label', 'é'.repeat(100));
  await press('Enter');
  expect(sent(node, 'park')).toMatchObject([{ label: 'é'.repeat(100) }]);
});

test('a scan into the label becomes a line, and parks nothing', async () => {
  const node = await show(tillView(apples));
  await press('F10');
  now += 1_000;
  for (const key of '5012345678900') {
    await press(key, SCANNER_MS);
    input('park-label').value += key;
  }
  await press('Enter', SCANNER_MS);
  expect(node.commands).toMatchObject([{ type: 'add_line', item: { code: '5012345678900' } }]);
  expect(input('park-label').value).toBe('');
});

test('Enter twice parks once, and Enter held down parks nothing', async () => {
  const node = await show(tillView(apples));
  node.isSlow = true;
  await press('F10');
  await press('Enter', FINGERS_MS, { repeat: true });
  expect(node.commands).toEqual([]);
  await press('Enter');
  await press('Enter');
  expect(sent(node, 'park')).toHaveLength(1);
});

test('Enter beside the fields of the dialog takes no money of the panel behind it', async () => {
  const node = await show(tillView(apples));
  await press('F9');
  await fireEvent.click(button('park'));
  (document.activeElement as HTMLElement).blur();
  await press('Enter');
  expect(node.commands).toEqual([]);
});

test('what was typed outlives a refusal, whose sentence stands beside the cart as it is now', async () => {
  const node = await show(withCart({ recalled: table }));
  node.reply = (_, view) => {
    node.view = { ...view, cart: { ...view.cart, lines: [...apples, line('C', 'Cheese', 1, 1_000)] } };
    return refusal('stale_order', { message: 'somebody changed this order: look at the cart again' });
  };
  await press('F10');
  await write('park-label', 'Table 5');
  await press('Enter');
  expect(screen.getByTestId('notice').textContent).toContain('Somebody changed this order');
  expect(screen.getAllByTestId('cart-line')).toHaveLength(3);
  expect(screen.queryByTestId('park-label')).toBeNull();
  await press('F10');
  expect(input('park-label').value).toBe('Table 5');
});

test('what was typed for one customer is not the next one’s', async () => {
  const node = await show(tillView(apples));
  node.reply = (command, view) =>
    command.type === 'park'
      ? refusal('storage')
      : { ...view, cart: { ...tillView(apples).cart, order: 'order-2' } };
  await press('F10');
  await write('park-label', 'Table 5');
  await press('Enter');
  await press('+');
  await press('F10');
  expect(input('park-label').value).toBe('');
});

test('the menu counts what is parked, and says nothing of none', async () => {
  await show(tillView([], { open_orders: 12 }));
  expect(screen.getByTestId('parked-count').textContent).toBe('12');
  cleanup();
  await show(tillView());
  expect(screen.getByTestId('go-parked')).toBeTruthy();
  expect(screen.queryByTestId('parked-count')).toBeNull();
});

test('the list shows label, note, lines, total, who and how long ago, in the order of the till', async () => {
  await show(tillView(), [
    openOrder('open-2', 'Table 9', { note: 'More coffee' }),
    openOrder('open-1', '', { lines: 1, total_minor: 255, changed_by: 'Ben', changed_at_ms: Date.now() }),
  ]);
  await press('F3');
  const rows = screen.getAllByTestId('open-order');
  expect(rows.map((row) => row.dataset['openOrder'])).toEqual(['open-2', 'open-1']);
  for (const words of ['Table 9', 'More coffee', '2 lines', '£28.05', 'Amara', '4 min'])
    expect(rows[0]!.textContent).toContain(words);
  for (const words of ['No label', '1 line', '£2.55', 'Ben, just now'])
    expect(rows[1]!.textContent).toContain(words);
});

test('a search asks the till, and Enter takes up the only one that is found', async () => {
  const node = await show(tillView(), [openOrder('open-1', 'Table 1'), openOrder('open-2', 'Table 2')]);
  await press('F3');
  expect(document.activeElement).toBe(input('parked-search'));
  await press('Enter');
  expect(node.commands).toEqual([]);
  node.openOrders = [node.openOrders[1]!];
  await write('parked-search', 'e 2');
  await settled();
  expect(asked(node).at(-1)).toMatchObject({ text: 'e 2' });
  expect(screen.getAllByTestId('open-order')).toHaveLength(1);
  await press('Enter');
  expect(node.commands).toEqual([{ type: 'recall', open_order: 'open-2' }]);
});

test('nothing parked and nothing found say so', async () => {
  await show(tillView());
  await press('F3');
  expect(screen.getByTestId('parked-none').textContent).toContain('Nothing is parked');
  await write('parked-search', 'choir');
  await settled();
  expect(screen.getByTestId('parked-none').textContent).toContain('choir');
});

test('the list is asked for again when the till has changed', async () => {
  const node = await show(tillView(), [openOrder('open-1', 'Table 1')]);
  await fireEvent.click(button('go-parked'));
  await settled();
  node.openOrders = [openOrder('open-2', 'Table 2'), ...node.openOrders];
  node.announce({ type: 'till_changed' });
  await settled();
  expect(screen.getAllByTestId('open-order').map((row) => row.dataset['openOrder'])).toEqual([
    'open-2',
    'open-1',
  ]);
});

test('one press takes an order up once and goes back to selling', async () => {
  const node = await show(tillView(), [openOrder('open-1', 'Table 4')]);
  node.reply = () => withCart({ order: 'order-2', recalled: table });
  node.isSlow = true;
  await press('F3');
  await fireEvent.click(button('recall'));
  await fireEvent.click(button('recall'));
  await node.answer();
  expect(node.commands).toEqual([{ type: 'recall', open_order: 'open-1' }]);
  expect(screen.queryByTestId('parked-list')).toBeNull();
  expect(screen.getByTestId('recalled').textContent).toContain('Table 4');
});

test('with something in the cart nothing is taken up, and it is said what to do', async () => {
  const node = await show(tillView(apples), [openOrder('open-1', 'Table 4')]);
  await press('F3');
  expect(screen.getByTestId('parked-cart-not-empty').textContent).toContain('Something is in the cart');
  expect(button('recall').disabled).toBe(true);
  await press('Enter');
  expect(node.commands).toEqual([]);
});

test('an order that is gone by then is said in the till’s words, and the list is asked for again', async () => {
  const node = await show(tillView(), [openOrder('open-1', 'Table 4')]);
  await press('F3');
  node.reply = () => refusal('stale_order', { message: 'this order was paid already: look at the list' });
  node.openOrders = [];
  await fireEvent.click(button('recall'));
  await settled();
  expect(screen.getByTestId('notice').textContent).toContain('This order was paid already');
  expect(screen.queryByTestId('open-order')).toBeNull();
});

test('giving up asks first, and says which order it is about', async () => {
  const node = await show(tillView(), [openOrder('open-1', 'Table 1'), openOrder('open-2', 'Table 2')]);
  await press('F3');
  await fireEvent.click(screen.getByRole('button', { name: 'Give up Table 2' }));
  const dialog = screen.getByRole('dialog');
  expect(dialog.textContent).toContain('Give up “Table 2”?');
  expect(dialog.textContent).toContain('£28.05');
  await fireEvent.click(within(dialog).getByRole('button', { name: 'Cancel' }));
  expect(screen.queryByRole('dialog')).toBeNull();
  expect(node.commands).toEqual([]);
  await fireEvent.click(screen.getByRole('button', { name: 'Give up Table 2' }));
  node.openOrders = [node.openOrders[0]!];
  await fireEvent.click(button('confirm'));
  await settled();
  expect(node.commands).toEqual([{ type: 'give_up', open_order: 'open-2' }]);
  expect(screen.getAllByTestId('open-order')).toHaveLength(1);
});

test('whoever gives up the order in the cart is told that the cart goes too', async () => {
  await show(withCart({ recalled: table }), [openOrder('open-1', 'Table 4'), openOrder('open-2', 'Table 5')]);
  await press('F3');
  expect(screen.getAllByText('In the cart')).toHaveLength(1);
  await fireEvent.click(screen.getAllByTestId('give-up')[1]!);
  expect(screen.getByRole('dialog').textContent).not.toContain('cart is emptied');
  await fireEvent.click(screen.getByRole('button', { name: 'Cancel' }));
  await fireEvent.click(screen.getAllByTestId('give-up')[0]!);
  expect(screen.getByRole('dialog').textContent).toContain('cart is emptied');
});

test('the head of the cart says which order was taken up', async () => {
  await show(withCart({ recalled: table }));
  const head = screen.getByTestId('recalled');
  expect(head.dataset['openOrder']).toBe('open-1');
  expect(head.textContent).toContain('Table 4');
  expect(head.textContent).toContain('Two coffees');
  expect(screen.queryByTestId('recalled-closed')).toBeNull();
  cleanup();
  await show(withCart({ recalled: { ...table, label: '' } }));
  expect(screen.getByTestId('recalled').textContent).toContain('No label');
  cleanup();
  await show(tillView(apples));
  expect(screen.queryByTestId('recalled')).toBeNull();
});

test('an order that is closed at another till is not paid here again', async () => {
  const node = await show(withCart({ recalled: table }));
  await press('F9');
  expect(screen.getByTestId('tender')).toBeTruthy();
  node.view = withCart({ recalled: { ...table, is_closed: true } });
  node.announce({ type: 'till_changed' });
  await settled();
  expect(screen.getByTestId('recalled-closed').textContent).toContain('Empty the cart');
  expect(screen.queryByTestId('tender')).toBeNull();
  expect(button('pay').disabled).toBe(true);
  await press('F9');
  await press('Enter');
  expect(node.commands).toEqual([]);
  await fireEvent.click(button('clear-cart'));
  expect(screen.queryByTestId('recalled-stays')).toBeNull();
  await fireEvent.click(button('clear-cart'));
  expect(node.commands).toEqual([{ type: 'clear_cart' }]);
});

test('emptying a recalled cart says that the order stays as it was', async () => {
  const node = await show(withCart({ recalled: table }));
  expect(button('clear-cart').title).toContain('stays as it was');
  await fireEvent.click(button('clear-cart'));
  expect(screen.getByTestId('recalled-stays').textContent).toContain('stays as it was');
  expect(node.commands).toEqual([]);
  await fireEvent.click(button('clear-cart'));
  expect(node.commands).toEqual([{ type: 'clear_cart' }]);
});

test('a recalled order of which nothing is left can be let go, and no refund begins in its cart', async () => {
  const node = await show(withCart({ recalled: table }, []));
  expect(screen.getByText('Nothing is left in this order')).toBeTruthy();
  await press('F6');
  await write('reason', 'Damaged');
  expect(button('start-refund').disabled).toBe(true);
  await fireEvent.click(button('clear-cart'));
  expect(node.commands).toEqual([{ type: 'clear_cart' }]);
});
