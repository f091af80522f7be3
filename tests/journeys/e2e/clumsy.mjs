/**
 * What goes wrong at a counter every day: a tap too many, a finger left on Enter, a barcode that nobody knows, a barcode in the middle
 * of a payment. Somebody who may refund is signed in and a shift is open.
 *
 *   node clumsy.mjs '{"page": "http://…/#token=…", "shots": "…", "unknown": "…", "code": "…", "name": "…", "price": "£2.95", "twice": "£5.90"}'
 *
 * Gives the receipt numbers that the screen showed, in their order.
 */
import { check, run, scan, textWhen, whenAnswered } from './browser.mjs';

/** Enter goes down and the keyboard repeats it, as it does some thirty times a second. */
async function holdEnter(page) {
  for (let n = 0; n < 40; n += 1) {
    await page.keyboard.down('Enter');
    await page.waitForTimeout(25);
  }
  await page.keyboard.up('Enter');
}

await run(async (asked, { context, page, shot }) => {
  const keys = await context.newCDPSession(page);
  const id = (name) => page.getByTestId(name);
  const shows = (locator, what, text) => textWhen(locator, what, (shown) => shown.includes(text));
  const receipts = [];
  const answered = whenAnswered(page);
  const settled = async (what) => {
    const text = await textWhen(id('receipt'), what, (shown) => /\d/.test(shown) && !receipts.some((r) => shown.endsWith(r)));
    receipts.push(text.replace(/^Receipt /, ''));
    // Whatever the rest of the taps and keys asked for is answered and drawn: it would show as a line, a panel or a notice.
    await answered();
    check((await id('cart-line').count()) === 0, `${what}: something is in the cart`);
    check((await id('take-cash').count()) === 0, `${what}: the payment is still open`);
    check((await id('notice').count()) === 0, `${what}: there is a notice`);
  };
  const add = async () => {
    await scan(keys, asked.code);
    await shows(id('cart-line').first(), 'a scanned line', asked.name);
  };

  await page.goto(asked.page);
  await page.getByRole('navigation', { name: 'What to do' }).waitFor();

  // An unknown barcode and, with no pause, the next one: the first is named, the second is in the cart.
  await scan(keys, asked.unknown, asked.code);
  await shows(id('notice'), 'the unknown barcode', `No product has the code ${asked.unknown}. It was not added.`);
  await shows(id('cart-line').first(), 'the scan after the unknown one', asked.name);
  await shows(id('total'), 'the total', asked.price);
  await shot('1-unknown');

  // Too little money: the button does nothing, and says so beside it; nor does Enter.
  await page.keyboard.press('F9');
  await page.getByLabel('Cash received').waitFor();
  await page.keyboard.type('1');
  await shows(page.getByRole('status').filter({ hasText: 'Still missing' }), 'what is missing', '£1.95');
  check(await id('take-cash').isDisabled(), 'too little can be taken');
  await page.keyboard.press('Enter');
  await shot('2-short');

  // A barcode in the middle of the payment goes into the cart and not into the amount; taken out again.
  await scan(keys, asked.code);
  await shows(id('total'), 'the total after a scan into the payment', asked.twice);
  check((await id('tender').inputValue()) === '1', 'the barcode became an amount');
  await page.keyboard.press('Escape');
  await id('edit-quantity').first().click();
  await page.getByLabel('Quantity', { exact: true }).waitFor();
  await page.keyboard.type('1');
  await page.keyboard.press('Enter');
  await shows(id('total'), 'the total of one', asked.price);

  // A double tap on Pay opens the payment and no more; a double tap on Take takes once.
  await id('pay').dblclick();
  await page.getByLabel('Cash received').waitFor();
  check((await id('receipt').count()) === 0, 'the second half of a double tap took the money');
  await id('take-cash').dblclick();
  await settled('a double tap on Take');
  await shot('3-double-tap');

  // Two taps that the screen cannot tell from two fingers.
  await add();
  await page.keyboard.press('F9');
  await id('take-cash').waitFor();
  await id('take-cash').evaluate((button) => {
    button.click();
    button.click();
    button.click();
  });
  await settled('three taps at once');

  // A finger on Enter while the amount has the focus.
  await add();
  await page.keyboard.press('F9');
  await page.getByLabel('Cash received').waitFor();
  await holdEnter(page);
  await settled('Enter held in the payment');

  // A finger on Enter with the Pay button in focus: it opens the payment, and a new press takes the money.
  await add();
  await id('pay').focus();
  await holdEnter(page);
  await page.getByLabel('Cash received').waitFor();
  check((await id('cart-line').count()) === 1, 'Enter held on Pay took the money');
  await page.keyboard.press('Enter');
  await settled('Enter after it was held');

  // The same for a refund, which has no amount to type: it must not pay out by itself.
  await page.keyboard.press('F6');
  await id('reason').fill('gift');
  await page.keyboard.press('Enter');
  await shows(id('cart'), 'the refund', 'Cancel refund');
  await add();
  await id('pay').focus();
  await holdEnter(page);
  await id('take-cash').waitFor();
  check((await id('cart-line').count()) === 1, 'Enter held on Pay out gave the money away');
  await shot('4-refund');
  await page.keyboard.press('Enter');
  await settled('the refund');

  return { receipts };
});
