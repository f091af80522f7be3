import { expect, test } from 'vitest';
import { Till } from '../src/lib/till.svelte';
import { Clock, FakeNode, line, refusal, settled, tillView } from './fakes';

function setUp(node = new FakeNode()) {
  const clock = new Clock();
  const heard = { beeps: 0 };
  const till = new Till(node, { beep: () => (heard.beeps += 1), pause: clock.pause });
  const stop = till.start();
  return { node, till, clock, heard, stop };
}

test('an unknown code beeps, leaves a notice, and the next scan is sent all the same', async () => {
  const { node, till, heard } = setUp();
  node.reply = (command, view) =>
    command.type === 'add_line' && command.item.by === 'code' && command.item.code === 'NOPE'
      ? refusal('unknown_code')
      : { ...view, cart: { ...view.cart, lines: [line('A', 'Apple', 1, 100)] } };
  const scans = [
    till.scan({ code: 'NOPE', quantityMilli: null }),
    till.scan({ code: 'A', quantityMilli: 2_000 }),
  ];
  await Promise.all(scans);
  expect(heard.beeps).toBe(1);
  expect(till.notices.map((n) => n.text)).toEqual(['No product has the code NOPE. It was not added.']);
  expect(node.commands.at(-1)).toMatchObject({ item: { code: 'A' }, quantity_milli: 2_000 });
  expect(till.view?.cart.lines).toHaveLength(1);
});

test('a view that was asked for before a command does not undo its answer', async () => {
  const { node, till } = setUp();
  await settled();
  const old = node.view;
  let answerQuery = (_: unknown) => {};
  const query = node.query.bind(node);
  node.query = (() => new Promise((done) => (answerQuery = done))) as never;
  node.announce({ type: 'till_changed' });
  node.query = query;
  node.reply = () => tillView([line('A', 'Apple', 1, 100)]);
  await till.scan({ code: 'A', quantityMilli: null });
  answerQuery(old);
  await settled();
  expect(till.view?.cart.lines).toHaveLength(1);
});

test('when the node is gone the till says so, and finds it again by itself', async () => {
  const { node, till, clock } = setUp();
  await settled();
  node.isGone = true;
  await till.scan({ code: 'A', quantityMilli: null });
  expect(till.isReachable).toBe(false);
  await clock.tick();
  expect(till.isReachable).toBe(false);
  node.isGone = false;
  await clock.tick();
  expect(till.isReachable).toBe(true);
});

test('a second tap on remove does not take the next line', async () => {
  const two = [line('A', 'Apple', 1, 100), line('B', 'Bread', 1, 200)];
  const { node, till } = setUp(new FakeNode(tillView(two)));
  await settled();
  node.reply = (command, view) =>
    command.type === 'remove_line' ? tillView(view.cart.lines.filter((_, i) => i !== command.line)) : view;
  const apple = two[0]!;
  await Promise.all([till.removeLine(0, apple), till.removeLine(0, apple)]);
  expect(node.commands.filter((c) => c.type === 'remove_line')).toHaveLength(1);
  expect(till.view?.cart.lines.map((l) => l.name)).toEqual(['Bread']);
});

test('a refused token ends in the page that says where to get one', async () => {
  const node = new FakeNode();
  node.query = () => Promise.reject(refusal('not_authorised'));
  const { till } = setUp(node);
  await settled();
  expect(till.isAuthorised).toBe(false);
});

test('a page that was left asks no more', async () => {
  const { node, stop, clock } = setUp();
  await settled();
  stop();
  const asked = node.queries.length;
  node.announce({ type: 'till_changed' });
  await clock.tick();
  expect(node.queries).toHaveLength(asked);
});
