import { cleanup, fireEvent, screen, within } from '@testing-library/svelte';
import { expect, test } from 'vitest';
import type { LiveSale } from '../../src/lib/api/server.gen';
import { ShopServer } from './server';
import { id, NOW, TODAY } from './shop';
import { find, findAll, open, until, where } from './stage';

const minorOf = (element: HTMLElement) => Number(element.dataset['minor']);
const netOf = (server: ShopServer, day: string) =>
  server.made
    .filter((one) => one.row.business_day === day)
    .reduce((sum, one) => sum + one.row.total_minor, 0);

function liveSale(more: Partial<LiveSale> = {}): LiveSale {
  return {
    store: 'S01',
    order: id(5, 9_999),
    kind: 'sale',
    number: 'S01-T01b-000999',
    device: id(4, 1),
    till: 'Till 1',
    cashier: 'Amara Okafor',
    at_ms: NOW - 1_000,
    accepted_at_ms: NOW - 900,
    currency: 'GBP',
    exponent: 2,
    total_minor: 4_582,
    lines: 4,
    first_line: 'Set of 3 cake tins',
    ...more,
  };
}

test('today shows the sums that the sales add up to, and what they cover', async () => {
  const { server } = open('/');
  expect(minorOf(await find('report-total'))).toBe(netOf(server, TODAY));
  expect((await find('coverage')).dataset['complete']).toBe('false');
  expect((await findAll('latest-sale'))[0]!.dataset['order']).toBe(server.made[0]!.row.order);
  expect((await find('open-exceptions')).textContent).toContain('3 open');
  expect(document.title).toBe('Today · Evertill');
});

test('a sale appears at once, is counted once, and stays when the figures have it', async () => {
  const stage = open('/');
  const before = minorOf(await find('report-total'));
  const sale = liveSale();
  stage.feed().say({ type: 'hello', at_ms: NOW });
  stage.feed().say({ type: 'sale', sale });
  await until(() => expect(minorOf(screen.getByTestId('report-total'))).toBe(before + 4_582));
  const [first] = screen.getAllByTestId('latest-sale');
  expect(first!.textContent).toContain('Set of 3 cake tins');
  const asked = stage.server.askedAt('/reports/sales').length;
  const known = stage.server.made[0]!;
  stage.server.made.unshift({
    ...known,
    row: { ...known.row, ...sale, kind: 'sale', business_day: TODAY, lines: 4 },
  });
  stage.feed().say({ type: 'figures', central_seq: 2 });
  await until(() => expect(stage.server.askedAt('/reports/sales').length).toBeGreaterThan(asked));
  await until(() => expect(minorOf(screen.getByTestId('report-total'))).toBe(before + 4_582));
  expect(
    screen.getAllByTestId('latest-sale').filter((row) => row.dataset['order'] === sale.order),
  ).toHaveLength(1);
});

test('a sale of another day or another currency is not counted today', async () => {
  const stage = open('/');
  const before = minorOf(await find('report-total'));
  stage.feed().say({ type: 'sale', sale: liveSale({ order: 'a', at_ms: NOW - 86_400_000 }) });
  stage.feed().say({ type: 'sale', sale: liveSale({ order: 'b', currency: 'EUR' }) });
  stage.feed().say({ type: 'sale', sale: liveSale({ order: 'c', kind: 'refund', total_minor: -500 }) });
  await until(() => expect(minorOf(screen.getByTestId('report-total'))).toBe(before - 500));
});

test('the day of the last week that stands beside it is named, also when nothing was sold on it', async () => {
  const { server } = open('/');
  const net = (netOf(server, '2026-11-14') / 100).toLocaleString('en-GB', { minimumFractionDigits: 2 });
  expect((await find('then')).textContent).toBe(`That whole day: £${net}`);
  cleanup();
  const closed = new ShopServer();
  closed.made = closed.made.filter((one) => one.row.business_day !== '2026-11-14');
  open('/', closed);
  expect((await find('then')).textContent).toBe('No sales last Saturday');
  expect(screen.queryByTestId('compared')).toBeNull();
});

test('seven days are seven bars, whatever was sold on them', async () => {
  const server = new ShopServer();
  server.made = server.made.filter((one) => ['2026-11-17', '2026-11-19'].includes(one.row.business_day!));
  open('/reports', server);
  expect((await find('chart')).dataset['bars']).toBe('7');
  expect(screen.getAllByTestId('report-row')).toHaveLength(7);
});

test('a report says in its address what is asked, and every row leads to its sales', async () => {
  const { server } = open('/reports?by=till&from=2026-11-20&to=2026-11-21');
  const rows = await findAll('report-row');
  expect(rows).toHaveLength(4);
  expect(screen.getByTestId('csv').getAttribute('href')).toBe(
    '/api/v1/reports/sales?from=2026-11-20&to=2026-11-21&group_by=till&format=csv',
  );
  const row = rows.find((one) => one.textContent!.includes('Till 2'))!;
  await fireEvent.click(within(row).getByRole('link', { name: 'Till 2' }));
  expect(where()).toBe(
    `/sales?from=2026-11-20&to=2026-11-21&basis=business_day&currency=GBP&till=${id(4, 2)}&till_name=Till+2`,
  );
  const sales = await findAll('sale');
  const behind = server.made.filter(
    (one) => one.row.device === id(4, 2) && one.row.business_day! >= '2026-11-20',
  );
  expect(sales).toHaveLength(behind.length);
  history.back();
});

test('figures sum up to the total whatever they are cut by', async () => {
  const { server } = open('/reports?by=product&range=this_month');
  await findAll('report-row');
  const question = server.askedAt('/reports/sales').at(-1)!.query;
  expect(question.get('from')).toBe('2026-11-01');
  for (const cut of ['hour', 'till', 'cashier', 'product', 'category', 'tender', 'tax_rate']) {
    await fireEvent.click(screen.getByTestId(`tab-${cut}`));
    await until(() => expect(server.askedAt('/reports/sales').at(-1)!.query.get('group_by')).toBe(cut));
    await until(() =>
      expect(screen.getByTestId('report-table').closest('[aria-busy]')!.ariaBusy).not.toBe('true'),
    );
  }
  expect(where()).toBe('/reports?by=tax_rate&range=this_month');
});

test('a table is sorted by its heads, and the address keeps it', async () => {
  open('/reports?by=cashier');
  await findAll('report-row');
  const nets = () => screen.getAllByTestId('report-row').map((row) => row.textContent!);
  const before = nets();
  await fireEvent.click(within(screen.getByTestId('report-table')).getByRole('button', { name: 'Net' }));
  await fireEvent.click(within(screen.getByTestId('report-table')).getByRole('button', { name: 'Net' }));
  expect(where()).toBe('/reports?by=cashier&sort=net');
  expect(nets()).toEqual(before.toReversed());
});

test('a filter is a chip that can be taken away', async () => {
  const { server } = open('/sales?hour=11&cashier=x&cashier_name=Ben');
  await find('sales-empty');
  const chips = screen.getAllByTestId('chip');
  expect(chips.map((chip) => chip.textContent)).toEqual(['Hour: 11:00', 'Cashier: Ben']);
  await fireEvent.click(chips[1]!);
  expect(where()).toBe('/sales?hour=11');
  await findAll('sale');
  expect(server.askedAt('/sales').at(-1)!.query.has('cashier')).toBe(false);
});

test('more of a list goes on where it ended', async () => {
  const { server } = open('/sales');
  expect(await findAll('sale')).toHaveLength(50);
  await fireEvent.click(screen.getByTestId('more'));
  await until(() => expect(screen.getAllByTestId('sale')).toHaveLength(100));
  expect(server.askedAt('/sales').at(-1)!.query.get('after')).toBe('50');
});

test('a sale opens beside the list with receipt, lines and proof, and Escape closes it', async () => {
  const { server } = open('/sales?kind=sale');
  const sale = server.made.find((one) => one.row.kind === 'sale')!.row;
  await fireEvent.click(within((await findAll('sale'))[0]!).getByRole('link'));
  expect(where()).toBe(`/sales/${sale.store}/${sale.order}?kind=sale`);
  expect(minorOf(await find('sale-total'))).toBe(sale.total_minor);
  expect(screen.getByTestId('paper').textContent).toContain(sale.number);
  expect(screen.getByTestId('hash').textContent).toMatch(/^[0-9a-f]{64}$/);
  await fireEvent.keyDown(screen.getByTestId('sale-panel'), { key: 'Escape' });
  expect(where()).toBe('/sales?kind=sale');
});

const bunting = (server: ShopServer) => server.catalogue.find((one) => one.code === '47566')!;

test('a price is changed to the penny, only it is written, and Undo writes the old one', async () => {
  const server = new ShopServer();
  open(`/products/${bunting(server).product}`, server);
  const price = (await find('product-price')) as HTMLInputElement;
  expect(price.value).toBe('4.95');
  await fireEvent.input(price, { target: { value: '5,255' } });
  await fireEvent.submit(screen.getByTestId('product-form'));
  await find('toast');
  const edits = () => server.asked.filter((ask) => ask.method === 'PATCH').map((ask) => ask.body);
  expect(edits()).toEqual([{ price_centi: 52_550, seen: 'seen-1' }]);
  expect(screen.getAllByTestId('edit')[0]!.textContent).toContain('£4.95');
  await fireEvent.click(screen.getByTestId('toast-action'));
  await until(() => expect(bunting(server).price_centi).toBe(49_500));
  expect(edits()[1]).toEqual({ price_centi: 49_500, seen: 'seen-2' });
});

test('what is wrong is said at its field and not sent', async () => {
  const server = new ShopServer();
  open(`/products/${bunting(server).product}`, server);
  await fireEvent.input(await find('product-price'), { target: { value: 'four' } });
  await fireEvent.submit(screen.getByTestId('product-form'));
  expect(await screen.findByText('Write a price such as 2.55.')).toBeTruthy();
  expect(server.asked.some((ask) => ask.method === 'PATCH')).toBe(false);
});

test('a scan into the barcode field adds it and saves nothing', async () => {
  const server = new ShopServer();
  open(`/products/${bunting(server).product}`, server);
  const field = await find('barcode-field');
  await fireEvent.input(field, { target: { value: '4006381333931' } });
  await fireEvent.keyDown(field, { key: 'Enter' });
  expect(screen.getAllByTestId('barcode')).toHaveLength(2);
  expect(server.asked.some((ask) => ask.method === 'PATCH')).toBe(false);
});

test('what is not saved is not left by accident', async () => {
  const server = new ShopServer();
  const path = `/products/${bunting(server).product}`;
  open(path, server);
  await fireEvent.input(await find('product-name'), { target: { value: 'Bunting' } });
  await fireEvent.click(screen.getByTestId('nav-stock'));
  expect(where()).toBe(path);
  await fireEvent.click(await find('confirm'));
  await find('stock');
  expect(where()).toBe('/stock');
});

test('somebody else’s edit shows in an untouched form, and beside a touched one', async () => {
  const server = new ShopServer();
  const stage = open(`/products/${bunting(server).product}`, server);
  const name = (await find('product-name')) as HTMLInputElement;
  stage.feed().say({ type: 'hello', at_ms: NOW });
  const edit = (text: string) => {
    const before = bunting(server).name;
    bunting(server).name = text;
    server.write(bunting(server).product, 'name', before, text, 'Ben');
    stage.feed().say({ type: 'document', kind: 'product', id: bunting(server).product });
  };
  edit('Bunting, 4 m');
  await until(() =>
    expect((screen.getByTestId('product-name') as HTMLInputElement).value).toBe('Bunting, 4 m'),
  );
  await fireEvent.input(screen.getByTestId('product-price'), { target: { value: '6' } });
  edit('Bunting, 5 m');
  expect((await find('overtaken')).textContent).toContain('Ben has changed this product');
  expect(name.isConnected).toBe(true);
  await fireEvent.submit(screen.getByTestId('product-form'));
  await find('toast');
  // The state that the writer saw, not the newest: the server must know that the two crossed.
  expect(server.asked.find((ask) => ask.method === 'PATCH')!.body).toEqual({
    price_centi: 60_000,
    seen: 'seen-2',
  });
});

test('a writing that was outvoted is told to the manager', async () => {
  const server = new ShopServer();
  const { product } = bunting(server);
  server.write(product, 'price', '£4.95', '£5.25', 'Ben');
  server
    .history(product)
    .push({ field: 'price', old: '£4.95', new: '£5.10', by: 'Ada', at_ms: NOW, outcome: 'outvoted' });
  open(`/products/${product}`, server);
  const note = (await find('conflict')).textContent!;
  expect(note).toContain('Ada wrote “£5.10” and Ben wrote “£5.25”');
});

test('a new product is created once, in the class that most are in', async () => {
  const { server } = open('/products/new');
  await fireEvent.input(await find('product-name'), { target: { value: 'Tea towel' } });
  await fireEvent.input(screen.getByTestId('product-code'), { target: { value: '22423' } });
  await fireEvent.input(screen.getByTestId('product-price'), { target: { value: '3.5' } });
  await fireEvent.submit(screen.getByTestId('product-form'));
  expect((await find('product-error')).textContent).toContain('Another product has the code 22423');
  await fireEvent.input(screen.getByTestId('product-code'), { target: { value: 'TT-1' } });
  await fireEvent.submit(screen.getByTestId('product-form'));
  await until(() => expect(server.catalogue.some((one) => one.code === 'TT-1')).toBe(true));
  expect(server.catalogue.find((one) => one.code === 'TT-1')).toMatchObject({
    price_centi: 35_000,
    tax_class: id(2, 1),
  });
  await until(() => expect(where()).toMatch(/^\/products\/0189/));
});

test('an import is shown, applied after a second yes, and undone', async () => {
  const { server } = open('/imports/import-1');
  expect((await find('import-added')).textContent).toBe('30');
  expect(screen.getAllByTestId('import-change')[0]!.textContent).toContain('£12.75');
  await fireEvent.click(screen.getByTestId('import-apply'));
  expect(server.askedAt('/imports/import-1/apply')).toHaveLength(0);
  await fireEvent.click(await find('confirm'));
  await fireEvent.click(await find('import-undo'));
  await fireEvent.click(await find('confirm'));
  expect((await find('import-kept')).textContent).toContain('1 field stayed');
});

test('an import that broke can be undone when it wrote something, and forgotten when not', async () => {
  for (const [wrote, offered, not] of [
    [true, 'import-undo', 'import-forget'],
    [false, 'import-forget', 'import-undo'],
  ] as const) {
    const server = new ShopServer();
    Object.assign(server.imports[0]!, {
      state: 'failed',
      can_be_undone: wrote,
      message: 'The disk is full.',
    });
    open('/imports/import-1', server);
    await find(offered);
    expect(screen.queryByTestId(not)).toBeNull();
    cleanup();
  }
});

test('how far an import is comes over the feed', async () => {
  const server = new ShopServer();
  Object.assign(server.imports[0]!, { state: 'applying', done: 10, rows: 1240 });
  const stage = open('/imports/import-1', server);
  expect((await find('import-progress')).textContent).toBe('10 of 1,240 rows');
  stage.feed().say({ type: 'import', id: 'import-1', state: 'applying', done: 700, rows: 1240 });
  await until(() => expect(screen.getByTestId('import-progress').textContent).toBe('700 of 1,240 rows'));
});

test('rows that are wrong are named, and cannot be applied', async () => {
  open('/imports/import-2');
  expect(await findAll('import-problem')).toHaveLength(3);
  expect(screen.getAllByTestId('import-problem')[1]!.textContent).toContain('Row 204');
  expect(screen.queryByTestId('import-apply')).toBeNull();
});

test('a file that is no table is not sent', async () => {
  const { server } = open('/imports');
  const input = (await find('import-file')) as HTMLInputElement;
  const bring = async (file: File) => {
    Object.defineProperty(input, 'files', { value: [file], configurable: true });
    await fireEvent.change(input);
  };
  await bring(new File(['PK'], 'products.xlsx'));
  expect((await find('import-error')).textContent).toContain('not a CSV file');
  expect(server.asked.some((ask) => ask.method === 'POST')).toBe(false);
  await bring(new File(['code,name\n'], 'products.csv', { type: 'text/csv' }));
  await until(() => expect(where()).toBe('/imports/import-new'));
  expect(
    server
      .askedAt('/imports')
      .find((ask) => ask.method === 'POST')!
      .query.get('name'),
  ).toBe('products.csv');
});

test('a file may be dropped as well', async () => {
  const { server } = open('/imports');
  const place = (await find('import-file')).parentElement!;
  await fireEvent.dragOver(place);
  expect(place.className).toContain('over');
  const files = [new File(['code,name\n'], 'products.csv', { type: 'text/csv' })];
  await fireEvent.drop(place, { dataTransfer: { files } });
  expect(place.className).not.toContain('over');
  await until(() => expect(where()).toBe('/imports/import-new'));
  expect(server.asked.filter((ask) => ask.method === 'POST')).toHaveLength(1);
});

test('stock is searched, what is below zero is marked, and its movements lead to sales', async () => {
  open('/stock?below_milli=0');
  const rows = await findAll('stock-row');
  expect(rows.every((row) => row.textContent!.includes('-3'))).toBe(true);
  await fireEvent.click(within(rows[0]!).getByRole('link'));
  const movements = await findAll('movement');
  expect(within(movements[0]!).getByRole('link').getAttribute('href')).toMatch(/^\/sales\/S0\d\/0189/);
  expect(screen.getByTestId('level').textContent).toContain('-3');
});

test('devices say how they stand, what they have not sent and how wrong their clocks are', async () => {
  const stage = open('/devices');
  const text = async (name: string) =>
    (await findAll('device')).find((row) => row.textContent!.includes(name))!.textContent!;
  expect(await text('Till 2')).toMatch(/Silent.*12 commits not here yet.*8 s slow/s);
  expect(await text('Kiosk')).toContain('2 min 14 s fast');
  expect(await text('Handheld')).toContain('2 h 6 min fast');
  Object.assign(stage.server.devices[1]!, { connected: true, state: 'current', unsent_commits: 0 });
  stage.feed().say({ type: 'device', device: id(4, 2), connected: true });
  await until(async () => expect(await text('Till 2')).toContain('Connected'));
});

test('an exception is reviewed with a note and leaves the open ones', async () => {
  const { server } = open('/exceptions');
  await fireEvent.click((await findAll('review'))[0]!);
  await fireEvent.input(await find('review-note'), { target: { value: ' Counted. ' } });
  await fireEvent.click(screen.getByTestId('review-submit'));
  await until(() => expect(screen.getAllByTestId('exception')).toHaveLength(2));
  expect(server.exceptions[0]!.review).toMatchObject({ by: 'Dana Levi', note: 'Counted.' });
  await until(() => expect(screen.getByTestId('open-exceptions').textContent).toContain('2 open'));
});

test('a store’s receipt is previewed as one types, and only what changed is written', async () => {
  const { server } = open('/settings/stores/S01');
  await fireEvent.input(await find('store-footer'), { target: { value: 'See you soon\n\n' } });
  expect(screen.getByTestId('paper').textContent).toContain('See you soon');
  await fireEvent.change(screen.getByTestId('store-tax-mode'), { target: { value: 'exclusive' } });
  expect((await find('tax-warning')).textContent).toContain('tax is added to every price');
  await fireEvent.submit(screen.getByTestId('store-form'));
  await find('toast');
  expect(server.asked.find((ask) => ask.method === 'PATCH')!.body).toEqual({
    receipt_footer: ['See you soon'],
    tax_mode: 'exclusive',
    seen: 'seen-1',
  });
});

test('a tax class is changed in one place', async () => {
  const { server } = open('/settings/taxes');
  await fireEvent.click(within((await findAll('tax-class'))[0]!).getByRole('button'));
  await fireEvent.input(await find('class-rate'), { target: { value: '21' } });
  await fireEvent.submit(screen.getByTestId('class-form'));
  await find('toast');
  expect(server.asked.find((ask) => ask.method === 'PATCH')!.body).toEqual({ rate_bp: 2100, seen: 'seen-1' });
});

test('a session that ends asks again on top of the page, which stays', async () => {
  const server = new ShopServer();
  const path = `/products/${bunting(server).product}`;
  open(path, server);
  await fireEvent.input(await find('product-name'), { target: { value: 'Bunting' } });
  server.session = null;
  await fireEvent.submit(screen.getByTestId('product-form'));
  await find('sign-in-again');
  await fireEvent.input(screen.getByTestId('manager-name'), { target: { value: 'Dana Levi' } });
  await fireEvent.input(screen.getByTestId('manager-password'), { target: { value: server.password } });
  await fireEvent.submit(screen.getByTestId('manager-password').closest('form')!);
  await until(() => expect(screen.queryByTestId('sign-in-again')).toBeNull());
  expect(where()).toBe(path);
  expect((screen.getByTestId('product-name') as HTMLInputElement).value).toBe('Bunting');
});

test('a server that is away leaves the last figures and says from when they are', async () => {
  const stage = open('/reports');
  await find('report-total');
  stage.server.instead = () => ({ status: 503, value: { code: 'central_away', message: '' } });
  stage.feed().say({ type: 'figures', central_seq: 9 });
  expect((await find('stale')).textContent).toContain('The central database does not answer');
  expect(screen.getByTestId('report-total')).toBeTruthy();
});

test('the mark says since when it is not live', async () => {
  const stage = open('/devices');
  await find('devices');
  stage.feed().say({ type: 'hello', at_ms: NOW });
  await until(() => expect(screen.getAllByTestId('live')[0]!.dataset['state']).toBe('live'));
  stage.feed().onclose!();
  await until(() => expect(screen.getAllByTestId('live')[0]!.textContent).toContain('Reconnecting'));
});

test('an address that is none says so', async () => {
  open('/no/such/page');
  expect((await find('nowhere')).textContent).toContain('There is no such page');
});

test('an exception leads to what it is about, and says what settled it', async () => {
  const { server } = open('/exceptions?state=all');
  await until(() => expect(screen.getAllByTestId('exception')).toHaveLength(5));
  const card = (id: string) => screen.getAllByTestId('exception').find((one) => one.dataset['id'] === id)!;
  expect(within(card('e1')).getByTestId('exception-product').getAttribute('href')).toBe(
    `/stock/${server.exceptions[0]!.store}/${id(1, 0)}`,
  );
  const twice = card('e5');
  expect(within(twice).getAllByTestId('exception-receipt')).toHaveLength(2);
  expect(within(twice).getByTestId('settled').textContent).toContain(server.exceptions[4]!.settled!.number);
  expect(within(twice).queryByTestId('review')).toBeNull();
});

test('shifts say what their Z report covers and what came afterwards', async () => {
  open('/shifts');
  await until(() => expect(screen.getAllByTestId('shift-row')).toHaveLength(3));
  const rows = screen.getAllByTestId('shift-row');
  expect(rows[0]!.textContent).toMatch(/Till 1.*still open.*£587.40/s);
  expect(rows[1]!.textContent).toMatch(/£587.40.*41 sales, 2 refunds.*£41.20.*-£5.00 with addenda/s);
  expect(
    within(rows[1]!)
      .getAllByTestId('shift-addendum')
      .map((one) => one.textContent?.trim()),
  ).toEqual([
    'Addendum 1: £41.20, S01-T02b-000088 – S01-T02b-000091',
    'Addendum 2: £5.00, S01-T02c-000088 – S01-T02c-000089',
  ]);
  expect(within(rows[2]!).queryByTestId('shift-addendum')).toBeNull();
});

test('what is parked at tills is listed, the oldest first', async () => {
  open('/parked');
  await until(() => expect(screen.getAllByTestId('parked-row')).toHaveLength(3));
  const rows = screen.getAllByTestId('parked-row').map((row) => row.textContent);
  expect(rows[0]).toMatch(/Table 4.*Birthday.*Amara Okafor.*£84.30/s);
  expect(rows[1]).toContain('No label');
  expect(screen.getByTestId('parked-count').textContent).toBe('3 parked');
});
