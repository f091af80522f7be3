import type { OrderSummary } from '../../lib/api/node.gen';
import { NewestQuestion } from '../../lib/newest-question';
import type { Till } from '../../lib/till.svelte';
import type { Job } from '../job';

const ORDERS_MAX = 200;
const TEXT_MAX = 40;

/** The orders of this store, newest first, cut by part of a receipt number. */
export class HistoryJob implements Job {
  readonly kind = 'history';
  readonly primary = null;
  text = $state('');
  /** Null until the first answer. */
  orders = $state.raw<OrderSummary[] | null>(null);
  #till: Till;
  #question = new NewestQuestion(() => this.#put());

  constructor(till: Till) {
    this.#till = till;
  }

  type(text: string): void {
    this.text = text.slice(0, TEXT_MAX);
    void this.ask();
  }

  ask(): Promise<void> {
    return this.#question.ask();
  }

  async #put(): Promise<void> {
    const orders = await this.#till.ask({ type: 'orders', text: this.text.trim(), limit: ORDERS_MAX });
    if (orders) this.orders = orders;
  }
}
