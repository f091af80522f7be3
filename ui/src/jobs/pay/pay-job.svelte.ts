import { AmountDraft } from '../../lib/amount-draft.svelte';
import { t } from '../../lib/messages';
import { type Currency, money } from '../../lib/money';
import type { Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

/** Settling the cart in cash. It names the order it was opened for, so a second tap cannot pay for the next customer. */
export class PayJob implements Job {
  readonly kind = 'pay';
  readonly order: string;
  readonly tender: AmountDraft;
  #till: Till;
  #currency: Currency;
  #onDone: () => void;
  #isSent = $state(false);

  constructor(till: Till, currency: Currency, onDone: () => void) {
    this.#till = till;
    this.#currency = currency;
    this.#onDone = onDone;
    this.order = till.view?.cart.order ?? '';
    this.tender = new AmountDraft(currency.exponent, () => this.total);
  }

  /** False once another order is in the cart. */
  isCurrent = $derived.by(() => this.#till.view?.cart.order === this.order);
  isRefund = $derived.by(() => this.#till.view?.cart.is_refund ?? false);
  total = $derived.by(() => this.#till.view?.cart.total_minor ?? 0);
  /** What to give back; negative while money is missing; null while no amount is typed. */
  change = $derived(this.tenderedValue() === null ? null : this.tenderedValue()! - this.total);

  primary: PrimaryAction = $derived.by(() => ({
    label: this.isRefund
      ? t('pay.submit_refund', { amount: money(this.total, this.#currency) })
      : t('pay.submit', { amount: money(this.tenderedValue() ?? this.total, this.#currency) }),
    hint: 'Enter',
    testid: 'take-cash',
    isEnabled: !this.#isSent && this.isCurrent && (this.isRefund || (this.change ?? -1) >= 0),
    run: () => void this.settle(),
  }));

  tenderedValue(): number | null {
    return this.tender.value;
  }

  async settle(): Promise<void> {
    if (!this.primary.isEnabled) return;
    this.#isSent = true;
    const tendered = this.isRefund ? 0 : (this.tender.value ?? this.total);
    const outcome = await this.#till.send({
      type: 'settle_cash',
      order: this.order,
      tendered_minor: tendered,
    });
    this.#isSent = false;
    if (outcome.kind === 'done') {
      this.#till.dismissAll();
      this.#onDone();
    }
  }
}
