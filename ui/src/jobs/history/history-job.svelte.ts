import type { OrderSummary } from '../../lib/api/node.gen';
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
  #isAsking = false;
  #isStale = false;

  constructor(till: Till) {
    this.#till = till;
  }

  type(text: string): void {
    this.text = text.slice(0, TEXT_MAX);
    void this.ask();
  }

  async ask(): Promise<void> {
    this.#isStale = true;
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#isStale) {
      this.#isStale = false;
      const orders = await this.#till.ask({ type: 'orders', text: this.text.trim(), limit: ORDERS_MAX });
      if (orders) this.orders = orders;
    }
    this.#isAsking = false;
  }
}
