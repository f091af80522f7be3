import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LiveEvent, LiveSale } from '../../src/lib/api/server.gen';
import { HELLO_MS_MAX, LiveFeed, WAIT_MS_FIRST, WAIT_MS_MAX } from '../../src/lib/live';
import { FIGURES_MS, LiveNews, POLL_MS } from '../../src/jobs/manager/shared/live-news.svelte';
import { Feed } from './stage';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function feed(random = 1) {
  const sockets: Feed[] = [];
  const heard: unknown[] = [];
  const live = new LiveFeed(
    { onEvent: (event) => heard.push(event.type), onState: (state) => heard.push(state) },
    {
      open: () => {
        sockets.push(new Feed());
        return sockets.at(-1) as unknown as WebSocket;
      },
      random: () => random,
    },
  );
  return { live, sockets, heard };
}
const HELLO: LiveEvent = { type: 'hello', at_ms: 1 };

describe('the feed', () => {
  test('is live with its hello, and passes on what it can read', () => {
    const { live, sockets, heard } = feed();
    live.start();
    sockets[0]!.say(HELLO);
    sockets[0]!.onmessage!({ data: 'nonsense' });
    sockets[0]!.onmessage!({ data: '{}' });
    sockets[0]!.say({ type: 'figures', central_seq: 1 });
    expect(heard).toEqual(['connecting', 'live', 'hello', 'figures']);
  });

  test('waits longer after each failure, within its bound, and begins over once it was live', () => {
    const { live, sockets } = feed();
    live.start();
    for (let failure = 0; failure < 12; failure += 1) {
      sockets.at(-1)!.onclose!();
      const wait = Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** failure);
      vi.advanceTimersByTime(wait - 1);
      expect(sockets).toHaveLength(failure + 1);
      vi.advanceTimersByTime(1);
      expect(sockets).toHaveLength(failure + 2);
    }
    sockets.at(-1)!.say(HELLO);
    sockets.at(-1)!.onclose!();
    vi.advanceTimersByTime(WAIT_MS_FIRST);
    expect(sockets).toHaveLength(14);
  });

  test('chance spreads the waits over their upper half', () => {
    const { live, sockets } = feed(0);
    live.start();
    sockets[0]!.onclose!();
    vi.advanceTimersByTime(WAIT_MS_FIRST / 2);
    expect(sockets).toHaveLength(2);
  });

  test('gives up one that does not say hello', () => {
    const { live, sockets, heard } = feed();
    live.start();
    vi.advanceTimersByTime(HELLO_MS_MAX);
    expect(sockets[0]!.isClosed).toBe(true);
    expect(heard).toEqual(['connecting', 'lost']);
  });

  test('hurries when told to, and only while it waits', () => {
    const { live, sockets } = feed();
    live.start();
    live.hurry();
    expect(sockets).toHaveLength(1);
    sockets[0]!.onerror!();
    live.hurry();
    expect(sockets).toHaveLength(2);
    vi.advanceTimersByTime(WAIT_MS_FIRST);
    expect(sockets).toHaveLength(2);
  });

  test('is over once it is stopped, and what an old socket still says is nothing', () => {
    const { live, sockets, heard } = feed();
    live.start();
    const [first] = sockets;
    first!.onclose!();
    vi.advanceTimersByTime(WAIT_MS_FIRST);
    first!.say(HELLO);
    live.stop();
    vi.advanceTimersByTime(HELLO_MS_MAX + WAIT_MS_MAX);
    expect(heard).toEqual(['connecting', 'lost', 'connecting']);
    expect(sockets[1]!.isClosed).toBe(true);
  });
});

const sale = (order: string): LiveSale => ({
  store: 'S01',
  order,
  kind: 'sale',
  number: '1',
  device: 'd',
  till: 'Till 1',
  cashier: '',
  at_ms: 0,
  accepted_at_ms: 0,
  currency: 'GBP',
  exponent: 2,
  total_minor: 100,
  lines: 1,
  first_line: 'Tea',
});

describe('what pages are told', () => {
  function news() {
    const sockets: Feed[] = [];
    let now = 1_000;
    const live = new LiveNews({
      open: () => {
        sockets.push(new Feed());
        return sockets.at(-1) as unknown as WebSocket;
      },
      random: () => 1,
      now: () => now,
    });
    const stop = live.start();
    sockets[0]!.say(HELLO);
    return { live, stop, feed: () => sockets.at(-1)!, at: (ms: number) => (now = ms) };
  }

  test('the first change of the figures is told at once, those right behind it together', () => {
    const { live, feed, stop } = news();
    for (let seq = 0; seq < 5; seq += 1) feed().say({ type: 'figures', central_seq: seq });
    expect(live.figures).toBe(1);
    vi.advanceTimersByTime(FIGURES_MS);
    expect(live.figures).toBe(2);
    vi.advanceTimersByTime(10 * FIGURES_MS);
    expect(live.figures).toBe(2);
    stop();
  });

  test('a sale is told once, the newest first', () => {
    const { live, feed, stop } = news();
    for (const order of ['a', 'b', 'a']) feed().say({ type: 'sale', sale: sale(order) });
    expect(live.sales.map((one) => one.order)).toEqual(['b', 'a']);
    stop();
  });

  test('what was missed, or may have been, is asked for anew', () => {
    const { live, feed, stop, at } = news();
    feed().say({ type: 'missed' });
    expect([live.figures, live.devices, live.documents, live.exceptions]).toEqual([1, 1, 1, 1]);
    at(5_000);
    feed().onclose!();
    expect([live.state, live.lostAt]).toEqual(['lost', 5_000]);
    vi.advanceTimersByTime(WAIT_MS_FIRST);
    expect(live.state).toBe('lost');
    feed().say(HELLO);
    expect([live.state, live.lostAt, live.figures]).toEqual(['live', null, 2]);
    stop();
  });

  test('without a feed pages ask again and again, with one they do not', () => {
    const { live, feed, stop } = news();
    vi.advanceTimersByTime(3 * POLL_MS);
    expect(live.figures).toBe(0);
    feed().onclose!();
    vi.advanceTimersByTime(2 * POLL_MS);
    expect(live.figures).toBe(2);
    stop();
  });

  test('devices, documents, exceptions and imports are told apart', () => {
    const { live, feed, stop } = news();
    feed().say({ type: 'device', device: 'd', connected: true });
    feed().say({ type: 'document', kind: 'product', id: null });
    feed().say({ type: 'exceptions', open: 7 });
    feed().say({ type: 'import', id: 'i', state: 'applying', done: 5, rows: 10 });
    expect([live.figures, live.devices, live.documents, live.exceptions]).toEqual([0, 1, 1, 1]);
    expect(live.openExceptions).toBe(7);
    expect(live.imports['i']).toEqual({ state: 'applying', done: 5, rows: 10 });
    stop();
  });
});
