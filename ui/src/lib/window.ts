/**
 * The window's side of the seam: the till runs in the same program, and Tauri carries the calls. Nothing else of the app
 * knows Tauri.
 */
import { Channel, invoke } from '@tauri-apps/api/core';
import { type Answer, refused, unreachable } from './api/client';
import type { Command, Event as NodeEvent, Query, TillView } from './api/node.gen';
import { ANSWER_MS_MAX, isApiError, type TillBackend } from './backend';

/** As `ui/src-tauri/src/host.rs` says it. */
export type ProblemCode =
  | 'bad_link'
  | 'unreachable'
  | 'denied'
  | 'broke_off'
  | 'in_use'
  | 'already_enrolled'
  | 'folder'
  | 'config'
  | 'database'
  | 'broken';

export interface Problem {
  code: ProblemCode;
  /** What went wrong, in English, for whoever is asked for help. */
  message: string;
}

/** What the window shows. */
export type Shown =
  | { stage: 'first_run'; data: string }
  | { stage: 'selling'; till: string }
  | ({ stage: 'stuck'; data: string } & Problem);

/** The program behind the window. */
export interface WindowHost {
  /** What to show. `again` tries once more what was in vain. */
  begin(again: boolean): Promise<Shown>;
  /** Rejects with a Problem. */
  enrol(link: string): Promise<Shown>;
  /** The till, once it is at work. `onEnded` is called when it has ended by itself. */
  till(onEnded: () => void): TillBackend;
}

type Heard = NodeEvent | { type: 'ended' };

export class TauriHost implements WindowHost {
  begin(again: boolean): Promise<Shown> {
    return invoke<Shown>('begin', { again });
  }

  async enrol(link: string): Promise<Shown> {
    try {
      return await invoke<Shown>('enrol', { link });
    } catch (thrown) {
      throw isProblem(thrown) ? thrown : { code: 'broken', message: String(thrown) };
    }
  }

  till(onEnded: () => void): TillBackend {
    return new TauriTillBackend(onEnded);
  }
}

class TauriTillBackend implements TillBackend {
  #onEnded: () => void;

  constructor(onEnded: () => void) {
    this.#onEnded = onEnded;
  }

  command(command: Command): Promise<TillView> {
    return call<TillView>({ command });
  }

  query<Q extends Query>(query: Q): Promise<Answer<Q>> {
    return call<Answer<Q>>({ query });
  }

  async picture(id: string): Promise<Blob | null> {
    try {
      const bytes = await inTime(invoke<ArrayBuffer>('picture', { id }));
      return bytes.byteLength > 0 ? new Blob([bytes]) : null;
    } catch {
      throw unreachable();
    }
  }

  subscribe(onEvent: (event: NodeEvent) => void, onConnection: (connected: boolean) => void): () => void {
    let isStopped = false;
    const channel = new Channel<Heard>((heard) => {
      if (isStopped) return;
      if (heard.type !== 'ended') return onEvent(heard);
      onConnection(false);
      this.#onEnded();
    });
    invoke('subscribe', { channel }).then(
      () => !isStopped && onConnection(true),
      // There is no till at work, which whoever shows the window knows best.
      () => !isStopped && this.#onEnded(),
    );
    return () => {
      isStopped = true;
    };
  }
}

async function call<T>(call: { command: Command } | { query: Query }): Promise<T> {
  try {
    return await inTime(invoke<T>('rpc', { call }));
  } catch (thrown) {
    throw isApiError(thrown) ? refused(thrown) : unreachable();
  }
}

/** As over HTTP: what takes longer than this hangs. */
function inTime<T>(answer: Promise<T>): Promise<T> {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error('no answer')), ANSWER_MS_MAX);
    void answer.then(done, failed).finally(() => clearTimeout(timer));
  });
}

export function isProblem(thrown: unknown): thrown is Problem {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && 'message' in thrown;
}
