import { expect, test } from 'vitest';
import type { OrderView } from '../src/lib/api/node.gen';
import { OrderJob } from '../src/jobs/refund/order-job.svelte';
import { Till } from '../src/lib/till.svelte';
import { Clock, FakeNode, settled } from './fakes';

const order: OrderView = {
  summary: {
    order: 'sale-1',
    receipt: 'S01-T03b-000123',
    is_refund: false,
    at_ms: 0,
    total_minor: 2_805,
    lines: 2,
    till: 'Till 3',
    durability: 'central',
    is_here: true,
    is_paid_twice: false,
  },
  cashier: 'Amara',
  lines: [
    {
      name: 'Apple',
      quantity_milli: 6_000,
      unit_price: 25_500,
      amount_minor: 1_530,
      refundable_milli: 2_500,
    },
    {
      name: 'Bread',
      quantity_milli: 1_000,
      unit_price: 127_500,
      amount_minor: 1_275,
      refundable_milli: 1_000,
    },
  ],
  taxes: [],
  original: null,
  reason: null,
  refunds: [],
  paid_twice: null,
  next_refund: 'refund-1',
};

async function open(found: OrderView = order) {
  const node = new FakeNode();
  node.query = (async () => found) as never;
  const done = { count: 0 };
  const job = new OrderJob(
    new Till(node, { beep: () => {}, pause: new Clock().pause }),
    'sale-1',
    () => (done.count += 1),
  );
  await settled();
  return { node, job, done };
}

test('no more of a line is picked than is left to refund', async () => {
  const { job } = await open();
  for (let tap = 0; tap < 5; tap += 1) job.change(0, 1);
  expect(job.picked).toEqual([2_500, 0]);
  job.change(0, -1);
  job.change(0, -1);
  job.change(0, -1);
  expect(job.picked).toEqual([0, 0]);
});

test('a refund names its lines, its reason and the id that the node minted', async () => {
  const { node, job, done } = await open();
  job.change(1, 1);
  expect(job.primary?.isEnabled).toBe(false);
  job.reason = 'Damaged';
  expect(job.primary?.isEnabled).toBe(true);
  await job.refund();
  expect(node.commands).toEqual([
    {
      type: 'refund_sale',
      refund: 'refund-1',
      original: 'sale-1',
      lines: [{ line: 1, quantity_milli: 1_000 }],
      reason: 'Damaged',
    },
  ]);
  expect(done.count).toBe(1);
});

test('the value is exact for whole lines and an estimate for parts', async () => {
  const { job } = await open();
  job.change(1, 1);
  expect(job.value).toEqual({ minor: 1_275, isExact: true });
  job.change(0, 1);
  expect(job.value).toEqual({ minor: 1_275 + 255, isExact: false });
});

test('a refund cannot be refunded', async () => {
  const { job } = await open({ ...order, summary: { ...order.summary, is_refund: true } });
  expect(job.primary).toBeNull();
});

test('what was paid twice goes back in one touch, however much the node says that is', async () => {
  const twice = { label: 'Table 4', others: ['S01-T01a-000007'], amount_minor: 1_530 };
  const { node, job, done } = await open({ ...order, paid_twice: twice });
  await job.refundTwice();
  expect(node.commands).toEqual([{ type: 'refund_second_payment', refund: 'refund-1', sale: 'sale-1' }]);
  expect(done.count).toBe(1);
  const { node: other, job: once } = await open();
  await once.refundTwice();
  expect(other.commands).toEqual([]);
});
