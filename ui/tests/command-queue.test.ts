import { expect, test } from 'vitest';
import { BackendError } from '../src/lib/api/client';
import type { Command, TillView } from '../src/lib/api/node.gen';
import { CommandQueue, QUEUE_MAX } from '../src/lib/command-queue';
import { FakeNode, line, lost, refusal, settled, tillView } from './fakes';

const scan = (code: string): Command => ({
  type: 'add_line',
  item: { by: 'code', code },
  quantity_milli: null,
  unit_price: null,
  name: null,
});
const settle = (order: string): Command => ({ type: 'settle_cash', order, tendered_minor: 0 });

function setUp(view?: TillView) {
  const node = new FakeNode(view);
  const told = { views: [] as TillView[], lost: 0, quiet: 0 };
  const queue = new CommandQueue(node, {
    onView: (v) => told.views.push(v),
    onLost: () => (told.lost += 1),
    onQuiet: () => (told.quiet += 1),
  });
  if (view) queue.meet(view);
  return { node, queue, told };
}

test('a command waits until the one before it is answered', async () => {
  const { node, queue } = setUp();
  node.isSlow = true;
  void queue.send(settle('order-1'));
  void queue.send(scan('A'));
  void queue.send(scan('B'));
  await settled();
  expect(node.commands).toEqual([settle('order-1')]);
  await node.answer();
  expect(node.commands).toEqual([settle('order-1'), scan('A')]);
  await node.answer();
  expect(node.commands).toEqual([settle('order-1'), scan('A'), scan('B')]);
  expect(queue.isQuiet).toBe(false);
  await node.answer();
  expect(queue.isQuiet).toBe(true);
});

test('a refusal reaches its asker and stops nobody else', async () => {
  const { node, queue } = setUp();
  node.reply = (command, view) => (command.type === 'settle_cash' ? refusal('tender_short') : view);
  const refused = queue.send(settle('order-1'));
  const added = queue.send(scan('A'));
  await expect(refused).rejects.toBeInstanceOf(BackendError);
  await expect(added).resolves.toEqual(node.view);
});

test('a command made from the view meets the view of the one before it', async () => {
  const { node, queue } = setUp(tillView([line('A', 'Apple', 1, 100)]));
  node.reply = (command, view) => {
    if (command.type !== 'set_quantity') return view;
    return tillView([line('A', 'Apple', command.quantity_milli / 1000, 100)]);
  };
  const oneMore = (view: TillView | null): Command => ({
    type: 'set_quantity',
    line: 0,
    quantity_milli: view!.cart.lines[0]!.quantity_milli + 1_000,
  });
  await Promise.all([queue.send(oneMore), queue.send(oneMore), queue.send(oneMore)]);
  expect(node.view.cart.lines[0]!.quantity_milli).toBe(4_000);
});

test('when nobody answers, a scan fails, what was not sent yet is kept, and goes on later in order', async () => {
  const { node, queue, told } = setUp();
  node.isGone = true;
  const first = queue.send(scan('A'));
  const second = queue.send(scan('B'));
  await expect(first).rejects.toBeInstanceOf(BackendError);
  await settled();
  expect(told.lost).toBe(1);
  expect(node.commands).toEqual([scan('A')]);
  node.isGone = false;
  queue.release();
  await second;
  expect(node.commands).toEqual([scan('A'), scan('B')]);
});

test('a payment whose answer is lost is asked again for the same order', async () => {
  const { node, queue } = setUp();
  let answers = 0;
  node.reply = (_, view) => (++answers === 1 ? lost() : view);
  const paid = queue.send(settle('order-1'));
  await settled();
  queue.release();
  await paid;
  expect(node.commands).toEqual([settle('order-1'), settle('order-1')]);
});

test('the queue has an end', async () => {
  const { node, queue } = setUp();
  node.isSlow = true;
  const sent = Array.from({ length: QUEUE_MAX + 1 }, () => queue.send(scan('A')));
  await settled();
  await expect(queue.send(scan('late'))).rejects.toBeInstanceOf(BackendError);
  expect(sent).toHaveLength(QUEUE_MAX + 1);
});
