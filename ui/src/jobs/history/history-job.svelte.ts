import type { ApiError, OrderSummary } from '../../lib/api/node.gen';
import { NewestQuestion } from '../../lib/newest-question';
import { asSentence, errorText, type Till } from '../../lib/till.svelte';
import type { Job } from '../job';

const ORDERS_MAX = 200;
const TEXT_MAX = 40;
/** A whole receipt number: a series and six digits or more. */
const RECEIPT = /^\S+-\d{6,}$/;

/** The orders of this store, newest first, cut by part of a receipt number. */
export class HistoryJob implements Job {
  readonly kind = 'history';
  readonly primary = null;
  text = $state('');
  /** Null until the first answer. */
  orders = $state.raw<OrderSummary[] | null>(null);
  /** Whether the server is asked for a receipt, and what became of that. */
  isAsking = $state(false);
  problem = $state('');
  #till: Till;
  #question = new NewestQuestion(() => this.#put());

  constructor(till: Till) {
    this.#till = till;
  }

  type(text: string): void {
    this.text = text.slice(0, TEXT_MAX);
    this.problem = '';
    void this.ask();
  }

  ask(): Promise<void> {
    return this.#question.ask();
  }

  /** The receipt that the server can be asked for: a whole number that is not on this till. */
  missing: string | null = $derived.by(() => {
    const receipt = this.text.trim();
    return this.orders?.length === 0 && RECEIPT.test(receipt) ? receipt : null;
  });

  /** Asks the server for that receipt; its order, if it has one. */
  async find(): Promise<string | null> {
    const receipt = this.missing;
    if (receipt === null || this.isAsking) return null;
    this.isAsking = true;
    this.problem = '';
    const refused = (error: ApiError) => {
      this.problem = error.code === 'no_such_order' ? asSentence(error.message) : errorText(error);
    };
    const found = await this.#till.ask({ type: 'find_order', receipt }, refused);
    this.isAsking = false;
    return found?.summary.order ?? null;
  }

  async #put(): Promise<void> {
    const orders = await this.#till.ask({ type: 'orders', text: this.text.trim(), limit: ORDERS_MAX });
    if (orders) this.orders = orders;
  }
}
