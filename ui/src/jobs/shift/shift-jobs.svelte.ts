import { AmountDraft } from '../../lib/amount-draft.svelte';
import { t } from '../../lib/messages';
import type { Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

/** Opening a shift with the cash in the drawer. */
export class OpenShiftJob implements Job {
  readonly float: AmountDraft;
  #till: Till;
  #isSent = $state(false);

  constructor(till: Till, exponent: number) {
    this.#till = till;
    this.float = new AmountDraft(exponent);
  }

  primary: PrimaryAction = $derived.by(() => ({
    label: t('shift.open'),
    hint: 'Enter',
    testid: 'open-shift',
    isEnabled: !this.#isSent && this.float.value !== null,
    run: () => void this.open(),
  }));

  async open(): Promise<void> {
    const float = this.float.value;
    if (!this.primary.isEnabled || float === null) return;
    this.#isSent = true;
    await this.#till.send({ type: 'open_shift', float_minor: float, business_day: null });
    this.#isSent = false;
  }
}

/** Counting the drawer and ending the shift. */
export class CloseShiftJob implements Job {
  readonly kind = 'close-shift';
  readonly counted: AmountDraft;
  #till: Till;
  #isSent = $state(false);

  constructor(till: Till, exponent: number) {
    this.#till = till;
    this.counted = new AmountDraft(exponent);
  }

  isCartEmpty = $derived.by(() => this.#till.view?.cart.lines.length === 0);
  primary: PrimaryAction = $derived.by(() => ({
    label: t('shift.close'),
    hint: 'Enter',
    testid: 'close-shift',
    isEnabled: !this.#isSent && this.isCartEmpty && this.counted.value !== null,
    run: () => void this.close(),
  }));

  async close(): Promise<void> {
    const counted = this.counted.value;
    if (!this.primary.isEnabled || counted === null) return;
    this.#isSent = true;
    await this.#till.send({ type: 'close_shift', counted_minor: counted });
    this.#isSent = false;
  }
}
