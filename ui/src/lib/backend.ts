/**
 * The one seam to the node. Components ask a `TillBackend`; whether it is the loopback HTTP face, the window's
 * own channel (`window.ts`) or a fake in a test is decided where the app starts.
 */
import { type Answer, refused, unreachable } from './api/client';
import type { ApiError, Command, Event as NodeEvent, Query, TillView } from './api/node.gen';

export interface TillBackend {
  /** Resolves with the view after the command. Rejects with a BackendError. */
  command(command: Command): Promise<TillView>;
  /** Rejects with a BackendError. */
  query<Q extends Query>(query: Q): Promise<Answer<Q>>;
  /** A product's picture; null when it is not there. Rejects with a BackendError. A backend without pictures leaves it out. */
  picture?(id: string): Promise<Blob | null>;
  /** Calls back until the returned function is called. `onConnection` says when announcements begin and end to arrive. */
  subscribe(onEvent: (event: NodeEvent) => void, onConnection: (connected: boolean) => void): () => void;
}

/** Whether the app is in a window of its own, in one program with the till, rather than in a browser. */
export const isWindow = (): boolean => 'isTauri' in globalThis;

/** A till on the same machine answers in milliseconds; after this long it hangs. */
export const ANSWER_MS_MAX = 15_000;
const RECONNECT_MS_FIRST = 250;
const RECONNECT_MS_MAX = 5_000;
const SUBPROTOCOL = 'evertill';

export class HttpTillBackend implements TillBackend {
  #origin: string;
  #token: string;

  /** `origin` such as `http://127.0.0.1:8421`; `token` as the node printed it. */
  constructor(origin: string, token: string) {
    this.#origin = origin;
    this.#token = token;
  }

  command(command: Command): Promise<TillView> {
    return this.#post<TillView>('/api/command', command);
  }

  query<Q extends Query>(query: Q): Promise<Answer<Q>> {
    return this.#post<Answer<Q>>('/api/query', query);
  }

  async picture(id: string): Promise<Blob | null> {
    try {
      const response = await fetch(new URL(`/picture/${encodeURIComponent(id)}`, this.#origin), {
        headers: { authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      return response.ok ? await response.blob() : null;
    } catch {
      throw unreachable();
    }
  }

  subscribe(onEvent: (event: NodeEvent) => void, onConnection: (connected: boolean) => void): () => void {
    const url = new URL('/api/events', this.#origin);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    let wait = RECONNECT_MS_FIRST;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let socket: WebSocket | undefined;
    let stopped = false;

    const connect = () => {
      socket = new WebSocket(url, [SUBPROTOCOL, this.#token]);
      socket.onopen = () => {
        wait = RECONNECT_MS_FIRST;
        onConnection(true);
      };
      socket.onmessage = (message) => {
        const event = parseEvent(message.data);
        if (event) onEvent(event);
      };
      socket.onclose = () => {
        if (stopped) return;
        onConnection(false);
        timer = setTimeout(connect, wait);
        wait = Math.min(wait * 2, RECONNECT_MS_MAX);
      };
    };
    connect();
    return () => {
      stopped = true;
      clearTimeout(timer);
      socket?.close();
    };
  }

  async #post<T>(path: string, body: unknown): Promise<T> {
    let response: Response;
    let answer: unknown;
    try {
      response = await fetch(new URL(path, this.#origin), {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      answer = await response.json();
    } catch {
      throw unreachable();
    }
    if (response.ok) return answer as T;
    if (isApiError(answer)) throw refused(answer);
    throw unreachable();
  }
}

export function isApiError(answer: unknown): answer is ApiError {
  return typeof answer === 'object' && answer !== null && 'code' in answer && 'message' in answer;
}

function parseEvent(data: unknown): NodeEvent | null {
  if (typeof data !== 'string') return null;
  try {
    return JSON.parse(data) as NodeEvent;
  } catch {
    return null;
  }
}
