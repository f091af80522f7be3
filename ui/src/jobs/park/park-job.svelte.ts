import type { Till } from '../../lib/till.svelte';

/** As the till takes them, in UTF-8. */
const LABEL_BYTES_MAX = 200;
const NOTE_BYTES_MAX = 1_000;

/** Putting the cart aside as an open order, or back into the one that it was made of. It names the order it was opened for. */
export class ParkJob {
  readonly order: string;
  /** Whether it goes back into an open order. */
  readonly isAgain: boolean;
  label = $state('');
  note = $state('');
  /** Whether it is on the screen. What was typed outlives a refusal. */
  isOpen = $state(true);
  #till: Till;
  #isSent = $state(false);

  constructor(till: Till) {
    this.#till = till;
    const cart = till.view?.cart;
    this.order = cart?.order ?? '';
    this.isAgain = !!cart?.recalled;
    this.label = cart?.recalled?.label ?? '';
    this.note = cart?.recalled?.note ?? '';
  }

  isLabelTooLong = $derived(bytes(this.label) > LABEL_BYTES_MAX);
  isNoteTooLong = $derived(bytes(this.note) > NOTE_BYTES_MAX);
  isEnabled = $derived(!this.#isSent && !this.isLabelTooLong && !this.isNoteTooLong);

  /** Parks. A refusal is told beside the cart, so the dialog makes way in any case. */
  async submit(): Promise<void> {
    if (!this.isEnabled) return;
    this.#isSent = true;
    const { order } = this;
    await this.#till.send({ type: 'park', order, label: this.label.trim(), note: this.note.trim() });
    this.#isSent = false;
    this.isOpen = false;
  }
}

const bytes = (text: string) => new TextEncoder().encode(text.trim()).length;
