/**
 * The server's live feed: one WebSocket, taken up again after it ends, with waits that grow and that chance spreads, so
 * that a server that comes back is not met by everybody at once.
 */
import type { LiveEvent } from './api/server.gen';

export type LinkState = 'connecting' | 'live' | 'lost';

export interface LiveHandlers {
  onEvent(event: LiveEvent): void;
  /** `lost` comes with every end; the first `live` after it means that something may have been missed. */
  onState(state: LinkState): void;
}

export interface LiveSurroundings {
  open(): WebSocket;
  random(): number;
}

export const WAIT_MS_FIRST = 500;
export const WAIT_MS_MAX = 20_000;
/** A feed that does not say hello in this time is none. */
export const HELLO_MS_MAX = 10_000;

export class LiveFeed {
  #on: LiveHandlers;
  #around: LiveSurroundings;
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #isStopped = true;

  constructor(on: LiveHandlers, around: LiveSurroundings) {
    this.#on = on;
    this.#around = around;
  }

  start(): void {
    this.#isStopped = false;
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** Tries at once instead of waiting: the machine woke up, or its network came back. */
  hurry(): void {
    if (this.#isStopped || this.#socket) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  #connect(): void {
    this.#on.onState('connecting');
    const socket = this.#around.open();
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#ended(socket), HELLO_MS_MAX);
    socket.onmessage = (message) => {
      const event = parse(message.data);
      if (!event || socket !== this.#socket) return;
      if (event.type === 'hello') {
        clearTimeout(this.#timer);
        this.#failures = 0;
        this.#on.onState('live');
      }
      this.#on.onEvent(event);
    };
    socket.onclose = () => this.#ended(socket);
    socket.onerror = () => this.#ended(socket);
  }

  #ended(socket: WebSocket): void {
    if (socket !== this.#socket) return;
    this.#drop();
    if (this.#isStopped) return;
    this.#on.onState('lost');
    const most = Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#connect(), most / 2 + (this.#around.random() * most) / 2);
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}

/** The feed of the server that the page is from. */
export function openFeed(origin: string): WebSocket {
  const url = new URL('/api/v1/live', origin);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(url);
}

function parse(data: unknown): LiveEvent | null {
  if (typeof data !== 'string') return null;
  try {
    const event = JSON.parse(data) as Partial<LiveEvent> | null;
    return typeof event?.type === 'string' ? (event as LiveEvent) : null;
  } catch {
    return null;
  }
}
