/** The back office on a stage: the whole face over a made-up server, a feed that a test speaks through, a clock that stands. */
import { cleanup, render, screen } from '@testing-library/svelte';
import '../../src/lib/messages/manager';
import { afterEach, vi } from 'vitest';
import type { LiveEvent } from '../../src/lib/api/server.gen';
import { HttpManagerBackend } from '../../src/lib/manager';
import ManagerApp from '../../src/views/ManagerApp.svelte';
import { ShopServer } from './server';
import { NOW } from './shop';

export const ORIGIN = 'http://shop.example';

/** A socket whose other end is the test. */
export class Feed {
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  isClosed = false;

  say(event: LiveEvent): void {
    this.onmessage?.({ data: JSON.stringify(event) });
  }

  close(): void {
    this.isClosed = true;
  }
}

export interface Stage {
  server: ShopServer;
  feeds: Feed[];
  /** The newest feed. */
  feed(): Feed;
}

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** `fetch` that the server answers. */
export function connect(server: ShopServer): void {
  vi.stubGlobal('fetch', async (url: URL, init: RequestInit) => {
    const { pathname, searchParams } = new URL(url);
    const isJson = typeof init.body === 'string';
    const reply = server.answer({
      method: init.method ?? 'GET',
      path: pathname,
      query: searchParams,
      body: isJson ? JSON.parse(init.body as string) : (init.body ?? null),
    });
    if (!reply) return new Promise<Response>(() => {});
    const isEmpty = reply.status === 204;
    return new Response(isEmpty ? null : JSON.stringify(reply.value), { status: reply.status });
  });
}

/** Opens the face at an address. */
export function open(path: string, server = new ShopServer()): Stage {
  connect(server);
  // happy-dom does not paint.
  vi.stubGlobal('scrollTo', () => {});
  HTMLCanvasElement.prototype.getContext = (() => null) as never;
  vi.spyOn(console, 'error').mockImplementation((text: unknown) => {
    if (!String(text).includes('Failed to create chart')) throw new Error(String(text));
  });
  window.history.replaceState(null, '', path);
  const feeds: Feed[] = [];
  const around = {
    open: () => {
      const feed = new Feed();
      feeds.push(feed);
      return feed as unknown as WebSocket;
    },
    random: () => 0.5,
    now: () => NOW,
  };
  render(ManagerApp, { backend: new HttpManagerBackend(ORIGIN), around });
  return { server, feeds, feed: () => feeds.at(-1)! };
}

export const find = (testid: string) => screen.findByTestId(testid, {}, { timeout: 20_000 });
export const findAll = (testid: string) => screen.findAllByTestId(testid, {}, { timeout: 20_000 });

/** Until it holds: what comes over `fetch` takes a few turns. */
export const until = (holds: () => void) => vi.waitFor(holds, { timeout: 20_000, interval: 10 });

export const where = () => window.location.pathname + window.location.search;
