import { AmountDraft } from '../../lib/amount-draft.svelte';
import type { CartLineView } from '../../lib/api/node.gen';
import { t } from '../../lib/messages';
import type { Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

/** Typing the quantity of one line of the cart. */
export class QuantityJob implements Job {
  readonly kind = 'quantity';
  readonly line: CartLineView;
  readonly draft: AmountDraft;
  #till: Till;
  #index: number;
  #onDone: () => void;

  constructor(till: Till, index: number, line: CartLineView, onDone: () => void) {
    this.#till = till;
    this.#index = index;
    this.line = line;
    this.#onDone = onDone;
    this.draft = new AmountDraft(3, () => line.quantity_milli, true);
  }

  primary: PrimaryAction = $derived.by(() => ({
    label: t('quantity.submit'),
    hint: 'Enter',
    testid: 'set-quantity',
    isEnabled: (this.draft.value ?? 0) > 0,
    run: () => void this.submit(),
  }));

  async submit(): Promise<void> {
    const quantity = this.draft.value;
    if (!quantity) return;
    this.#onDone();
    await this.#till.setQuantity(this.#index, this.line, quantity);
  }
}
