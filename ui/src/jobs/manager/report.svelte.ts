import type { GroupBy, SalesReport } from '../../lib/api/server.gen';
import type { ManagerBackend } from '../../lib/manager';
import { t } from '../../lib/messages';
import { isSignedOut, webErrorText } from './errors';
import { type Period, type Preset, periodOf } from './periods';

/** The sales report on the screen: what is asked, the last answer, and why there is no newer one. */
export class Report {
  period = $state.raw<Period>({ from: '', to: '' });
  groupBy = $state<GroupBy>('day');
  /** The last answer; it stays while a newer one is on its way. */
  answer = $state.raw<SalesReport | null>(null);
  problem = $state<string | null>(null);
  #backend: ManagerBackend;
  #onSignedOut: () => void;
  #asked = 0;

  constructor(backend: ManagerBackend, onSignedOut: () => void, today: Date) {
    this.#backend = backend;
    this.#onSignedOut = onSignedOut;
    this.period = periodOf('week', today);
  }

  /** Whether the answer is for what is chosen now. */
  isCurrent = $derived(
    this.answer?.from === this.period.from &&
      this.answer.to === this.period.to &&
      this.answer.group_by === this.groupBy,
  );
  isPossible = $derived(
    this.period.from !== '' && this.period.to !== '' && this.period.from <= this.period.to,
  );

  choosePreset(preset: Preset, today: Date): void {
    this.choosePeriod(periodOf(preset, today));
  }

  choosePeriod(period: Period): void {
    this.period = period;
    void this.ask();
  }

  chooseGroup(groupBy: GroupBy): void {
    this.groupBy = groupBy;
    void this.ask();
  }

  /** Asks anew. Only the answer to the newest question counts. */
  async ask(): Promise<void> {
    if (!this.isPossible) {
      this.problem = t('sales.bad_range');
      return;
    }
    const mine = ++this.#asked;
    try {
      const answer = await this.#backend.sales(this.period.from, this.period.to, this.groupBy);
      if (mine !== this.#asked) return;
      this.answer = answer;
      this.problem = null;
    } catch (thrown) {
      if (mine !== this.#asked) return;
      if (isSignedOut(thrown)) this.#onSignedOut();
      else this.problem = webErrorText(thrown);
    }
  }
}
