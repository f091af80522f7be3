import type { ClosedShiftView } from '../../lib/api/node.gen';
import { NewestQuestion } from '../../lib/newest-question';
import type { Till } from '../../lib/till.svelte';

const SHIFTS_MAX = 20;

/** The closed shifts of this store, newest first, and their paper. */
export class ShiftList {
  /** Null until the first answer. */
  shifts = $state.raw<ClosedShiftView[] | null>(null);
  #till: Till;
  #question = new NewestQuestion(() => this.#put());

  constructor(till: Till) {
    this.#till = till;
  }

  ask(): Promise<void> {
    return this.#question.ask();
  }

  /** Prints the Z report of a shift, or one of its addenda. */
  async print(shift: string, addendum: number | null): Promise<void> {
    await this.#till.send({ type: 'print_shift', shift, addendum });
  }

  async #put(): Promise<void> {
    const shifts = await this.#till.ask({ type: 'shifts', limit: SHIFTS_MAX });
    if (shifts) this.shifts = shifts;
  }
}
