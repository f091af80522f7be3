import type { ProductView } from '../../lib/api/node.gen';
import { NewestQuestion } from '../../lib/newest-question';
import type { Till } from '../../lib/till.svelte';
import type { Job } from '../job';

const RESULTS_MAX = 50;
const TEXT_MAX = 100;

/** The product search beside the cart. One question is under way at a time, always the newest. */
export class SearchJob implements Job {
  readonly kind = 'search';
  readonly primary = null;
  text = $state('');
  /** Null until the first answer. */
  results = $state.raw<ProductView[] | null>(null);
  /** The text that `results` answer. */
  answered = $state('');
  highlighted = $state<number | null>(null);

  #till: Till;
  #question = new NewestQuestion(() => this.#put());

  constructor(till: Till) {
    this.#till = till;
  }

  type(text: string): void {
    this.text = text.slice(0, TEXT_MAX);
    this.highlighted = null;
    void this.ask();
  }

  clear(): void {
    this.type('');
  }

  ask(): Promise<void> {
    return this.#question.ask();
  }

  async #put(): Promise<void> {
    const text = this.text.trim();
    const results = await this.#till.ask({ type: 'search', text, limit: RESULTS_MAX });
    if (results) {
      this.results = results;
      this.answered = text;
    }
  }

  move(by: 1 | -1): void {
    const last = (this.results?.length ?? 0) - 1;
    if (last < 0) return;
    const from = this.highlighted ?? (by > 0 ? -1 : last + 1);
    this.highlighted = Math.max(0, Math.min(last, from + by));
  }

  /** Adds what Enter means: the highlighted product, else the first of the answer, else whatever has that code. */
  async enter(): Promise<void> {
    if (this.text.trim() === '') return;
    await this.#settle();
    const product = this.results?.[this.highlighted ?? 0];
    if (product) return this.add(product);
    const code = this.text.trim();
    this.clear();
    await this.#till.scan({ code, quantityMilli: null });
  }

  async add(product: ProductView): Promise<void> {
    this.clear();
    await this.#till.addProduct(product.id, product.name);
  }

  /** Waits until the results belong to the text: a quick typist presses Enter before the answer is there. */
  async #settle(): Promise<void> {
    if (this.answered === this.text.trim() && this.results) return;
    const text = this.text.trim();
    const results = await this.#till.ask({ type: 'search', text, limit: RESULTS_MAX });
    if (results && this.text.trim() === text) {
      this.results = results;
      this.answered = text;
    }
  }
}
