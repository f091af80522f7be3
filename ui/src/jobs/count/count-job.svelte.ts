import { AmountDraft } from '../../lib/amount-draft.svelte';
import type { ProductView } from '../../lib/api/node.gen';
import { t } from '../../lib/messages';
import { quantity } from '../../lib/money';
import { NewestQuestion } from '../../lib/newest-question';
import type { Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

const RESULTS_MAX = 20;
const TEXT_MAX = 100;

/** Counting what is on the shelf, one product after the other, for one reason. */
export class CountJob implements Job {
  readonly kind = 'count';
  text = $state('');
  /** Null until the first answer. */
  results = $state.raw<ProductView[] | null>(null);
  /** What is being counted. */
  product = $state.raw<ProductView | null>(null);
  draft = $state.raw(new AmountDraft(3, () => null, true));
  reason = $state('');
  #till: Till;
  #isSent = $state(false);
  #question = new NewestQuestion(() => this.#put());

  constructor(till: Till) {
    this.#till = till;
  }

  primary: PrimaryAction | null = $derived.by(() =>
    this.product
      ? {
          label:
            this.draft.value === null
              ? t('count.submit_none')
              : t('count.submit', { quantity: quantity(this.draft.value) }),
          testid: 'count-submit',
          isEnabled: !this.#isSent && this.draft.value !== null && this.reason.trim() !== '',
          run: () => void this.count(),
        }
      : null,
  );

  type(text: string): void {
    this.text = text.slice(0, TEXT_MAX);
    void this.ask();
  }

  ask(): Promise<void> {
    return this.#question.ask();
  }

  async #put(): Promise<void> {
    const results = await this.#search(this.text.trim());
    if (results) this.results = results;
  }

  #search(text: string): Promise<ProductView[] | null> {
    return this.#till.ask({ type: 'search', text, limit: RESULTS_MAX });
  }

  /** Takes the first product that is found for what was typed. */
  async enter(): Promise<void> {
    if (this.text.trim() !== '') await this.scan(this.text.trim());
  }

  /** Takes the product of a scanned or typed code. */
  async scan(code: string): Promise<void> {
    const [found] = (await this.#search(code)) ?? [];
    if (found) this.choose(found);
    else this.#till.notify({ tone: 'warn', text: t('count.unknown', { code }) });
  }

  choose(product: ProductView): void {
    this.product = product;
    this.draft = new AmountDraft(3, () => null, true);
  }

  /** Back to looking for a product. */
  forget(): void {
    this.product = null;
    this.text = '';
    void this.ask();
  }

  async count(): Promise<void> {
    const { product } = this;
    const quantity_milli = this.draft.value;
    if (!product || quantity_milli === null || !this.primary?.isEnabled) return;
    this.#isSent = true;
    const lines = [{ code: product.code, quantity_milli }];
    const outcome = await this.#till.send({ type: 'count_stock', lines, reason: this.reason.trim() });
    this.#isSent = false;
    if (outcome.kind !== 'done') return;
    const counted = quantity(quantity_milli);
    this.#till.notify({ tone: 'info', text: t('count.done', { quantity: counted, name: product.name }) });
    this.forget();
  }
}
