/**
 * A manager at the server's page: sign in, see the day at a glance, find its sales in the report, with a coverage line that says it is
 * complete.
 *
 *   node manager.mjs '{"page": "http://…", "name": "Maja", "password": "…", "shots": "…", "net": "£…", …}'
 */
import { check, run, textWhen } from './browser.mjs';

await run(async (asked, { page, shot }) => {
  const shows = (locator, what, text) => textWhen(locator, what, (shown) => shown.includes(text));
  await page.goto(asked.page);
  await page.getByLabel('Name').fill(asked.name);
  await page.getByLabel('Password').fill(asked.password);
  await shot('10-manager-sign-in');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Today', exact: true }).waitFor();
  await page.getByTestId('nav-reports').click();
  await page.getByRole('heading', { name: 'Reports', exact: true }).waitFor();
  await page.getByRole('img', { name: /^Net sales by day/ }).waitFor();
  const table = page.getByRole('table', { name: 'Sales in figures' });
  await shows(table, 'the net sales', asked.net);
  await shows(table, 'the refunds', asked.refunds);
  await shows(page.getByTestId('coverage'), 'the coverage line', 'Complete');
  const sentence = await page.getByTestId('coverage-sentence').textContent();
  await shot('11-report-by-day');
  await page.getByTestId('tab-till').click();
  await shows(table, 'the till', asked.till);
  await shot('12-report-by-till');
  check(new URL(page.url()).searchParams.get('by') === 'till', 'the address does not say how the report is cut');
  await page.reload();
  await shows(table, 'the till after a reload', asked.till);
  return { sentence };
});
