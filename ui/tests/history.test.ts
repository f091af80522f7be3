/** Receipts that are not on this till: the server is asked for them, and what comes of it is said. */
import { expect, test } from 'vitest';
import { HistoryJob } from '../src/jobs/history/history-job.svelte';
import { OrderJob } from '../src/jobs/refund/order-job.svelte';
import type { Query } from '../src/lib/api/node.gen';
import { Till } from '../src/lib/till.svelte';
import { Clock, FakeNode, refusal, settled } from './fakes';

const RECEIPT = 'S01-T03b-000123';

function open(answer: (query: Query) => unknown) {
  const node = new FakeNode();
  const asked: Query[] = [];
  node.query = (async (query: Query) => {
    asked.push(query);
    const reply = answer(query);
    if (reply instanceof Error) throw reply;
    return reply;
  }) as never;
  const till = new Till(node, { beep: () => {}, pause: new Clock().pause });
  return { till, asked };
}

async function typed(till: Till, text: string): Promise<HistoryJob> {
  const job = new HistoryJob(till);
  job.type(text);
  await settled();
  return job;
}

test('a whole number that is not on this till is asked for at the server', async () => {
  const found = { summary: { order: 'sale-1' } };
  const { till, asked } = open((query) => (query.type === 'orders' ? [] : found));
  const job = await typed(till, ` ${RECEIPT} `);
  expect(job.missing).toBe(RECEIPT);
  const answer = job.find();
  expect(job.isAsking).toBe(true);
  expect(await answer).toBe('sale-1');
  expect(job.isAsking).toBe(false);
  expect(asked.at(-1)).toEqual({ type: 'find_order', receipt: RECEIPT });
});

test('part of a number is not asked for', async () => {
  const { till, asked } = open(() => []);
  const job = await typed(till, '0001');
  expect(job.missing).toBeNull();
  expect(await job.find()).toBeNull();
  expect(asked.every((query) => query.type === 'orders')).toBe(true);
});

test('why it was not found is said where it was looked for, until something else is typed', async () => {
  const { till } = open((query) =>
    query.type === 'orders' ? [] : refusal('not_kept', { message: 'the server cannot be reached now' }),
  );
  const job = await typed(till, RECEIPT);
  expect(await job.find()).toBeNull();
  expect(job.problem).toBe('The server cannot be reached now.');
  expect(till.notices).toEqual([]);
  job.type('x');
  expect(job.problem).toBe('');
});

test('a receipt that nobody wrote is told from one that is not known here', async () => {
  const { till } = open((query) =>
    query.type === 'orders' ? [] : refusal('no_such_order', { message: 'no till has written this receipt' }),
  );
  const job = await typed(till, RECEIPT);
  await job.find();
  expect(job.problem).toBe('No till has written this receipt.');
});

test('a sale that is at the server says that it is asked for, and why it did not come', async () => {
  const { till } = open(() => refusal('not_kept', { message: 'try again once this till is connected' }));
  const job = new OrderJob(till, 'sale-1', () => {}, false);
  expect([job.isAsked, job.order, job.problem]).toEqual([true, null, '']);
  await settled();
  expect(job.problem).toBe('Try again once this till is connected.');
  expect(till.notices).toEqual([]);
});
