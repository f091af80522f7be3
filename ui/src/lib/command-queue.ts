/**
 * Commands go to the node one at a time, in the order they were asked for: a scan that falls into a payment waits for it
 * and lands in the next cart. A command may be a function of the view it will meet, so that three quick taps
 * on "+" add three although none of them has been answered when the third is made.
 */
import { BackendError } from './api/client';
import type { Command, TillView } from './api/node.gen';
import type { TillBackend } from './backend';

/** Nobody is this far ahead of the till; what comes after is refused as if nobody had answered. */
export const QUEUE_MAX = 500;

/** A command, or a function that makes one from the view it meets; null when there is nothing left to do. */
export type Ask = Command | ((view: TillView | null) => Command | null);

interface Waiting {
  ask: Ask;
  done: (view: TillView | null) => void;
  failed: (error: unknown) => void;
}

/** Asking these again for the same order changes nothing, so when the answer is lost they are simply asked again. */
const isRepeatable = (command: Command) => command.type === 'settle_cash' || command.type === 'refund_sale';

const isLost = (error: unknown) => error instanceof BackendError && error.failure.kind === 'unreachable';

export interface QueueEvents {
  /** A command was answered. */
  onView(view: TillView): void;
  /** Nobody answered; the queue waits for `release`. */
  onLost(): void;
  /** Nothing is under way any more. */
  onQuiet(): void;
}

export class CommandQueue {
  #backend: TillBackend;
  #events: QueueEvents;
  #view: TillView | null = null;
  #waiting: Waiting[] = [];
  #isBusy = false;
  #isHeld = false;
  #taken = 0;

  constructor(backend: TillBackend, events: QueueEvents) {
    this.#backend = backend;
    this.#events = events;
  }

  /** How many commands were taken up so far: a view read before the newest of them is old. */
  get taken(): number {
    return this.#taken;
  }

  /** Whether nothing is under way, so that a view read now is the newest. */
  get isQuiet(): boolean {
    return !this.#isBusy && (this.#isHeld || this.#waiting.length === 0);
  }

  /** Tells the view that the next command meets; only one read while the queue was quiet. */
  meet(view: TillView): void {
    this.#view = view;
  }

  /**
   * Resolves with the new view, or with null when there was nothing left to do. Rejects with a BackendError; the
   * commands behind it are sent all the same.
   */
  send(ask: Ask): Promise<TillView | null> {
    if (this.#waiting.length >= QUEUE_MAX) return Promise.reject(new BackendError({ kind: 'unreachable' }));
    return new Promise((done, failed) => {
      this.#waiting.push({ ask, done, failed });
      void this.#run();
    });
  }

  /** Goes on after `onLost`, when someone answers again. */
  release(): void {
    this.#isHeld = false;
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (!this.#isHeld) {
      const next = this.#waiting.shift();
      if (!next) break;
      await this.#one(next);
    }
    this.#isBusy = false;
    this.#events.onQuiet();
  }

  async #one(waiting: Waiting): Promise<void> {
    this.#taken += 1;
    let command: Command | null = null;
    try {
      const { ask } = waiting;
      command = typeof ask === 'function' ? ask(this.#view) : ask;
      if (!command) return waiting.done(null);
      const view = await this.#backend.command(command);
      this.#view = view;
      this.#events.onView(view);
      waiting.done(view);
    } catch (error) {
      if (!isLost(error)) return waiting.failed(error);
      this.#isHeld = true;
      if (command && isRepeatable(command)) this.#waiting.unshift({ ...waiting, ask: command });
      else waiting.failed(error);
      this.#events.onLost();
    }
  }
}
