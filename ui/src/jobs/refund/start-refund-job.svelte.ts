import { t } from '../../lib/messages';
import type { Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

/** Making the empty cart a refund whose sale cannot be found. */
export class StartRefundJob implements Job {
  readonly kind = 'start-refund';
  reason = $state('');
  #till: Till;
  #onDone: () => void;

  constructor(till: Till, onDone: () => void) {
    this.#till = till;
    this.#onDone = onDone;
  }

  isCartEmpty = $derived.by(() => {
    const cart = this.#till.view?.cart;
    return cart?.lines.length === 0 && !cart.recalled;
  });
  primary: PrimaryAction = $derived.by(() => ({
    label: t('refund.start'),
    testid: 'start-refund',
    tone: 'danger',
    isEnabled: this.reason.trim() !== '' && this.isCartEmpty,
    run: () => void this.start(),
  }));

  async start(): Promise<void> {
    if (!this.primary.isEnabled) return;
    const outcome = await this.#till.send({ type: 'start_refund', reason: this.reason.trim() });
    if (outcome.kind === 'done') this.#onDone();
  }
}
