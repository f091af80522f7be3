import type { StaffView } from '../../lib/api/node.gen';
import { errorText, type Till } from '../../lib/till.svelte';
import { t } from '../../lib/messages';
import type { Job, PrimaryAction } from '../job';

export const PIN_MIN = 4;
export const PIN_MAX = 12;
const TICK_MS = 1_000;

/** Choosing a name and typing its PIN. The PIN is held here and nowhere else, and is gone with the answer. */
export class SignInJob implements Job {
  chosen = $state.raw<StaffView | null>(null);
  pin = $state('');
  error = $state<string | null>(null);
  /** Whole seconds until the next attempt counts; 0 when it may be made. */
  waitS = $state(0);
  #till: Till;
  #pause: (ms: number) => Promise<void>;
  #isSent = $state(false);

  constructor(till: Till, pause: (ms: number) => Promise<void>) {
    this.#till = till;
    this.#pause = pause;
  }

  isWaiting = $derived(this.waitS > 0);
  primary: PrimaryAction = $derived.by(() => ({
    label: t('signin.submit'),
    hint: 'Enter',
    testid: 'sign-in',
    isEnabled: !this.#isSent && !this.isWaiting && this.chosen !== null && this.pin.length >= PIN_MIN,
    run: () => void this.submit(),
  }));

  choose(staff: StaffView): void {
    if (this.chosen?.id === staff.id) return;
    this.chosen = staff;
    this.pin = '';
    this.error = null;
    this.waitS = 0;
  }

  press(key: string): void {
    if (!this.chosen || this.isWaiting || this.#isSent) return;
    if (key === 'clear') this.pin = '';
    else if (key === 'back') this.pin = this.pin.slice(0, -1);
    else if (/^\d$/.test(key) && this.pin.length < PIN_MAX) this.pin += key;
    this.error = null;
  }

  async submit(): Promise<void> {
    const staff = this.chosen;
    if (!staff || !this.primary.isEnabled) return;
    const pin = this.pin;
    this.#isSent = true;
    const outcome = await this.#till.send({ type: 'sign_in', staff: staff.id, pin }, () => true);
    this.#isSent = false;
    this.pin = '';
    if (outcome.kind !== 'refused') return;
    const { error } = outcome;
    this.error = error.code === 'wrong_pin' ? t('signin.wrong') : errorText(error);
    if (error.retry_after_ms) void this.#countDown(staff, Math.ceil(error.retry_after_ms / 1000));
  }

  async #countDown(staff: StaffView, seconds: number): Promise<void> {
    this.waitS = seconds;
    while (this.waitS > 0 && this.chosen?.id === staff.id) {
      await this.#pause(TICK_MS);
      if (this.chosen?.id === staff.id) this.waitS -= 1;
    }
    if (this.chosen?.id === staff.id) this.error = null;
  }
}
