import { t } from '../../lib/messages';
import type { Till } from '../../lib/till.svelte';
import type { Job, PrimaryAction } from '../job';

/** Opening the drawer without a sale. */
export class DrawerJob implements Job {
  readonly kind = 'drawer';
  reason = $state('');
  #till: Till;
  #onDone: () => void;
  #isSent = $state(false);

  constructor(till: Till, onDone: () => void) {
    this.#till = till;
    this.#onDone = onDone;
  }

  primary: PrimaryAction = $derived.by(() => ({
    label: t('drawer.submit'),
    testid: 'open-drawer',
    isEnabled: !this.#isSent && this.reason.trim() !== '',
    run: () => void this.open(),
  }));

  async open(): Promise<void> {
    if (!this.primary.isEnabled) return;
    this.#isSent = true;
    const outcome = await this.#till.send({ type: 'open_drawer', reason: this.reason.trim() });
    this.#isSent = false;
    if (outcome.kind === 'done') this.#onDone();
  }
}
