import { expect, test } from 'vitest';
import { CountJob } from '../src/jobs/count/count-job.svelte';
import { Till } from '../src/lib/till.svelte';
import { Clock, FakeNode, refusal, settled } from './fakes';

const apple = { id: 'p1', code: 'A1', name: 'Apple', unit_price: 25_500, stock_milli: -1_000, picture: null };

async function open() {
  const node = new FakeNode();
  node.products = [apple];
  const till = new Till(node, { beep: () => {}, pause: new Clock().pause });
  const job = new CountJob(till);
  await job.ask();
  return { node, till, job };
}

test('a scanned product is counted with a reason, and the next one is looked for', async () => {
  const { node, till, job } = await open();
  expect(job.primary).toBeNull();
  await job.scan('A1');
  expect([job.product, job.draft.value, job.primary?.isEnabled]).toEqual([apple, null, false]);
  job.draft.press('7');
  expect(job.primary?.isEnabled).toBe(false);
  job.reason = 'Stocktaking';
  expect(job.primary?.label).toContain('7');
  await job.count();
  expect(node.commands).toEqual([
    { type: 'count_stock', lines: [{ code: 'A1', quantity_milli: 7_000 }], reason: 'Stocktaking' },
  ]);
  expect([job.product, job.reason]).toEqual([null, 'Stocktaking']);
  expect(till.notices.map((notice) => notice.text)).toEqual(['Apple: 7 counted.']);
});

test('nothing on the shelf is a count, too', async () => {
  const { node, job } = await open();
  job.choose(apple);
  job.draft.press('0');
  job.reason = 'Stocktaking';
  await job.count();
  expect(node.commands).toMatchObject([{ lines: [{ code: 'A1', quantity_milli: 0 }] }]);
});

test('what is refused stays on the screen', async () => {
  const { node, job } = await open();
  node.reply = () => refusal('no_shift');
  job.choose(apple);
  job.draft.press('7');
  job.reason = 'Stocktaking';
  await job.count();
  await settled();
  expect([job.product, job.draft.value, job.primary?.isEnabled]).toEqual([apple, 7_000, true]);
});

test('a code that no product has counts nothing', async () => {
  const { node, till, job } = await open();
  node.products = [];
  await job.scan('4006381333931');
  expect(job.product).toBeNull();
  expect(till.notices[0]?.text).toContain('4006381333931');
});
