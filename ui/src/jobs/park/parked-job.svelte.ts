import type { OpenOrderView } from '../../lib/api/node.gen';
import { NewestQuestion } from '../../lib/newest-question';
import type { Till } from '../../lib/till.svelte';
import type { Job } from '../job';

const ORDERS_MAX = 200;
const TEXT_MAX = 40;

/** The open orders of this store, the one that was touched last first, cut by part of a label. */
export class ParkedJob implements Job {
  readonly kind = 'parked';
  readonly primary = null;
  text = $state('');
  /** Null until the first answer. */
  orders = $state.raw<OpenOrderView[] | null>(null);
  /** The text that `orders` answer. */
  answered = $state('');
  /** The one that is asked about before it is given up. */
  doubted = $state.raw<OpenOrderView | null>(null);
  #till: Till;
  #onDone: () => void;
  #question = new NewestQuestion(() => this.#put());
  #isSent = false;

  constructor(till: Till, onDone: () => void) {
    this.#till = till;
    this.#onDone = onDone;
  }

  isCartEmpty = $derived.by(() => this.#till.view?.cart.lines.length === 0);
  /** The open order that the cart was made of. */
  inCart = $derived.by(() => this.#till.view?.cart.recalled?.open_order ?? null);

  type(text: string): void {
    this.text = text.slice(0, TEXT_MAX);
    void this.ask();
  }

  ask(): Promise<void> {
    return this.#question.ask();
  }

  async #put(): Promise<void> {
    const text = this.text.trim();
    const orders = await this.#till.ask({ type: 'open_orders', text, limit: ORDERS_MAX });
    if (orders) {
      this.orders = orders;
      this.answered = text;
    }
  }

  /** What Enter means: the order that is found, if it is the only one. */
  async enter(): Promise<void> {
    const only = this.answered === this.text.trim() && this.orders?.length === 1 ? this.orders[0] : undefined;
    if (only) await this.recall(only);
  }

  /** Takes an order up into the empty cart. */
  async recall({ open_order }: OpenOrderView): Promise<void> {
    if (this.#isSent || !this.isCartEmpty) return;
    this.#isSent = true;
    const outcome = await this.#till.send({ type: 'recall', open_order });
    this.#isSent = false;
    if (outcome.kind === 'done') this.#onDone();
    else void this.ask();
  }

  async giveUp(): Promise<void> {
    const order = this.doubted;
    this.doubted = null;
    if (!order) return;
    await this.#till.send({ type: 'give_up', open_order: order.open_order });
    await this.ask();
  }
}
