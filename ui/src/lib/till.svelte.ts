/**
 * What the till's screen knows: the node's last view, whether the node answers, and what has to be told to the
 * person at the till. All of the till's commands pass through here, so that their order and their failures
 * are handled once.
 */
import { type Answer, apiErrorOf } from './api/client';
import type { ApiError, CartLineView, Event as NodeEvent, Query, TillView } from './api/node.gen';
import type { TillBackend } from './backend';
import { type Ask, CommandQueue } from './command-queue';
import { type MessageKey, t, tOr } from './messages';
import type { Entry } from './scan';

const RETRY_MS = 1_000;
const NOTICES_MAX = 3;

export interface Notice {
  tone: 'info' | 'warn' | 'danger';
  text: string;
}

export type Outcome =
  | { kind: 'done'; view: TillView | null }
  | { kind: 'refused'; error: ApiError }
  /** Nobody answered; the screen already says so. */
  | { kind: 'lost' };

export interface TillSurroundings {
  beep(): void;
  pause(ms: number): Promise<void>;
}

export class Till {
  view = $state.raw<TillView | null>(null);
  isReachable = $state(true);
  /** False once the node has refused this page's token. */
  isAuthorised = $state(true);
  notices = $state.raw<Notice[]>([]);
  /** Grows when products or prices changed. */
  catalogueVersion = $state(0);
  /** Grows when orders may have been added or moved on. */
  ordersVersion = $state(0);

  #backend: TillBackend;
  #around: TillSurroundings;
  #queue: CommandQueue;
  #isStale = false;
  #isReading = false;
  #isRetrying = false;
  #isStopped = false;

  constructor(backend: TillBackend, around: TillSurroundings) {
    this.#backend = backend;
    this.#around = around;
    this.#queue = new CommandQueue(backend, {
      onView: (view) => {
        this.view = view;
        this.isReachable = true;
      },
      onLost: () => this.#lost(),
      onQuiet: () => void this.#read(),
    });
  }

  /** Begins to follow the node; returns how to stop. */
  start(): () => void {
    const unsubscribe = this.#backend.subscribe(
      (event) => this.#happened(event),
      () => this.refresh(),
    );
    this.refresh();
    return () => {
      this.#isStopped = true;
      unsubscribe();
    };
  }

  /** Sends a command in its turn. A refusal becomes a notice unless `onRefused` returns true. */
  async send(ask: Ask, onRefused?: (error: ApiError) => boolean): Promise<Outcome> {
    try {
      const view = await this.#queue.send(ask);
      return { kind: 'done', view };
    } catch (thrown) {
      const error = apiErrorOf(thrown);
      if (!error) return { kind: 'lost' };
      this.#refused(error, onRefused);
      return { kind: 'refused', error };
    }
  }

  /** Asks the node; null when it refused or nobody answered. With `onRefused`, whoever asks says why it refused. */
  async ask<Q extends Query>(query: Q, onRefused?: (error: ApiError) => void): Promise<Answer<Q> | null> {
    try {
      return await this.#backend.query(query);
    } catch (thrown) {
      const error = apiErrorOf(thrown);
      const isSaidElsewhere = (error: ApiError) => {
        onRefused?.(error);
        return onRefused !== undefined || query.type === 'orders';
      };
      if (error) this.#refused(error, isSaidElsewhere);
      else this.#lost();
      return null;
    }
  }

  /** A product's picture; null when it is not there. Nothing is said about one that does not come: the product sells without it. */
  async picture(id: string): Promise<Blob | null> {
    try {
      return (await this.#backend.picture?.(id)) ?? null;
    } catch (thrown) {
      apiErrorOf(thrown);
      return null;
    }
  }

  /** Puts a scanned or typed code into the cart. Nothing about it ever waits for the person. */
  async scan({ code, quantityMilli }: Entry): Promise<Outcome> {
    const outcome = await this.send(
      {
        type: 'add_line',
        item: { by: 'code', code },
        quantity_milli: quantityMilli,
        unit_price: null,
        name: null,
      },
      (error) => {
        this.notify(
          error.code === 'unknown_code'
            ? { tone: 'warn', text: t('sell.unknown_code', { code }) }
            : { tone: 'danger', text: t('sell.not_added', { code, reason: errorText(error) }) },
        );
        return true;
      },
    );
    if (outcome.kind !== 'done') this.#around.beep();
    if (outcome.kind === 'lost') this.notify({ tone: 'danger', text: t('sell.lost', { code }) });
    return outcome;
  }

  async addProduct(product: string, name: string): Promise<Outcome> {
    const outcome = await this.send(
      {
        type: 'add_line',
        item: { by: 'product', product },
        quantity_milli: null,
        unit_price: null,
        name: null,
      },
      (error) => {
        this.notify({ tone: 'danger', text: t('sell.not_added', { code: name, reason: errorText(error) }) });
        return true;
      },
    );
    if (outcome.kind !== 'done') this.#around.beep();
    return outcome;
  }

  /** Changes a line by so many thousandths, counting from whatever it holds by then. */
  changeQuantity(index: number, line: CartLineView, byMilli: number): Promise<Outcome> {
    return this.send((view) => {
      const quantity = (lineAt(view, index, line)?.quantity_milli ?? 0) + byMilli;
      return quantity > 0 ? { type: 'set_quantity', line: index, quantity_milli: quantity } : null;
    });
  }

  setQuantity(index: number, line: CartLineView, quantityMilli: number): Promise<Outcome> {
    return this.send((view) =>
      lineAt(view, index, line) ? { type: 'set_quantity', line: index, quantity_milli: quantityMilli } : null,
    );
  }

  /** Takes out the line that was shown there; a second tap does not take its neighbour. */
  removeLine(index: number, line: CartLineView): Promise<Outcome> {
    return this.send((view) => (lineAt(view, index, line) ? { type: 'remove_line', line: index } : null));
  }

  notify(notice: Notice): void {
    const others = this.notices.filter((n) => n.text !== notice.text);
    this.notices = [...others, notice].slice(-NOTICES_MAX);
  }

  dismiss(notice: Notice): void {
    this.notices = this.notices.filter((n) => n !== notice);
  }

  dismissAll(): void {
    this.notices = [];
  }

  /** Reads the view again, as soon as no command is under way. */
  refresh(): void {
    this.#isStale = true;
    void this.#read();
  }

  async #read(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    while (this.#isStale && this.#queue.isQuiet && !this.#isStopped) {
      this.#isStale = false;
      const taken = this.#queue.taken;
      const view = await this.ask({ type: 'till' });
      if (!view) break;
      // A command that was sent meanwhile knows better.
      if (this.#queue.taken !== taken) this.#isStale = true;
      else this.#found(view);
    }
    this.#isReading = false;
  }

  #found(view: TillView): void {
    this.view = view;
    this.isReachable = true;
    this.#queue.meet(view);
    this.#queue.release();
  }

  #happened(event: NodeEvent): void {
    if (event.type === 'link_changed') {
      if (this.view) this.view = { ...this.view, link: event.link };
      this.ordersVersion += 1;
      // How safe the last order is moves with the link.
      this.refresh();
    } else if (event.type === 'catalogue_changed') {
      this.catalogueVersion += 1;
    } else {
      this.ordersVersion += 1;
      this.refresh();
    }
  }

  #refused(error: ApiError, onRefused?: (error: ApiError) => boolean): void {
    if (error.code === 'not_authorised') this.isAuthorised = false;
    else if (!onRefused?.(error)) this.notify({ tone: 'danger', text: errorText(error) });
    if (error.code === 'in_doubt' || error.code === 'stale_order') this.refresh();
  }

  #lost(): void {
    this.isReachable = false;
    if (!this.#isRetrying) void this.#retry();
  }

  async #retry(): Promise<void> {
    this.#isRetrying = true;
    while (!this.isReachable && !this.#isStopped && this.isAuthorised) {
      await this.#around.pause(RETRY_MS);
      this.#isStale = true;
      await this.#read();
    }
    this.#isRetrying = false;
  }
}

/** The sentence for a refusal: ours by its code, with the node's own where a code has many causes or is not known to this build. */
export function errorText(error: ApiError): string {
  const key: MessageKey = `error.${error.code}`;
  const message = asSentence(error.message);
  return tOr(key, message, { message });
}

/** The node's sentences begin small and end open, because a log goes on from there. */
export const asSentence = (text: string) =>
  `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;

/** The line at that place, if it is still the one that was shown. */
function lineAt(view: TillView | null, index: number, shown: CartLineView): CartLineView | null {
  const line = view?.cart.lines[index];
  if (!line) return null;
  const isSame = line.code === shown.code && line.name === shown.name && line.unit_price === shown.unit_price;
  return isSame ? line : null;
}
