/**
 * A cashier's day in a real browser: sign in, open a shift, scan, search, change a quantity, take cash, refund, count the
 * drawer. Keys only, as at a counter; names and roles are what a screen reader would say.
 *
 *   node sale.mjs '{"page": "http://…/#token=…", "staff": "Ana", "pin": "2468", "shots": "…", "scan": …, "search": …, …}'
 *
 * Amounts in the question and in the answer are the texts on the screen, such as "£12.05".
 */
import { check, run, scan, textWhen } from './browser.mjs';

await run(async (asked, { context, page, shot }) => {
  const id = (name) => page.getByTestId(name);
  const shows = (locator, what, text) => textWhen(locator, what, (shown) => shown.includes(text));

  await page.goto(asked.page);
  await page.getByRole('button', { name: new RegExp(`^${asked.staff}`) }).click();
  await shot('1-sign-in');
  await page.keyboard.type(asked.pin);
  await page.keyboard.press('Enter');

  await page.getByRole('heading', { name: 'Open a shift' }).waitFor();
  await page.getByLabel('Float in the drawer').waitFor();
  await page.keyboard.type(asked.float);
  await page.keyboard.press('Enter');

  const lines = id('cart-line');
  await page.getByRole('navigation', { name: 'What to do' }).waitFor();
  await scan(await context.newCDPSession(page), asked.scan.code);
  await shows(lines.first(), 'a scanned line', asked.scan.name);
  await shows(id('total'), 'the total after a scan', asked.scan.total);

  await page.keyboard.press('F2');
  await page.getByRole('combobox', { name: 'Search products' }).fill(asked.search.text);
  await page.getByRole('option', { name: new RegExp(asked.search.name) }).waitFor();
  await shot('2-search');
  await page.keyboard.press('Enter');
  await shows(lines.nth(1), 'a searched line', asked.search.name);

  await id('edit-quantity').click();
  await page.getByLabel('Quantity', { exact: true }).waitFor();
  await page.keyboard.type(asked.quantity);
  await page.keyboard.press('Enter');
  await shows(lines.nth(1).getByTestId('line-quantity'), 'a changed quantity', asked.quantity);
  const total = await shows(id('total'), 'the total', asked.total);
  await shot('3-cart');

  await page.keyboard.press('F9');
  await page.getByLabel('Cash received').waitFor();
  await page.keyboard.type(asked.tender);
  await shows(id('change-preview'), 'the change before paying', asked.change);
  await shot('4-cash');
  await page.keyboard.press('Enter');
  const change = await shows(id('change'), 'the change', asked.change);
  const receipt = (await textWhen(id('receipt'), 'the receipt number', (text) => /\d/.test(text))).replace(/^Receipt /, '');
  await id('print-state').and(page.locator('[data-state=confirmed], [data-state=sent_unconfirmed]')).waitFor();
  await shows(id('print-state'), 'the drawer', 'Drawer opened');
  await shot('5-paid');

  // One piece of the second line comes back.
  await page.keyboard.press('F4');
  await id('history-order').filter({ hasText: receipt }).click();
  await page.getByRole('button', { name: `Refund one more of ${asked.search.name}` }).click();
  await page.getByRole('button', { name: 'Damaged' }).click();
  await shot('6-refund');
  await id('confirm-refund').click();
  const back = await shows(id('change'), 'the money to give back', asked.refund);
  const refundReceipt = (await textWhen(id('receipt'), 'the refund’s number', (text) => /\d/.test(text) && !text.includes(receipt))).replace(/^Receipt /, '');
  await id('print-state').and(page.locator('[data-state=confirmed], [data-state=sent_unconfirmed]')).waitFor();
  await shot('7-refunded');

  const badge = id('link-badge');
  check((await badge.getAttribute('data-state')) === 'offline', 'the till believes that it has a link');
  const unsent = Number(await badge.getAttribute('data-unsent'));

  await page.keyboard.press('F7');
  await page.getByLabel('Cash counted').waitFor();
  await page.keyboard.type(asked.counted);
  await shot('8-count');
  await page.keyboard.press('Enter');
  const expected = await shows(id('expected'), 'the expected cash', asked.expected);
  await shows(id('counted'), 'the counted cash', asked.counted);
  const difference = await shows(id('difference'), 'the difference', asked.difference);
  await shot('9-closed');

  return { receipt, refundReceipt, total, change, back, unsent, expected, difference };
});
