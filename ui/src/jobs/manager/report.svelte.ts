import type { Coverage, GroupBy, SalesReport } from '../../lib/api/server.gen';
import type { ManagerBackend } from '../../lib/manager';
import { t } from '../../lib/messages';
import { isSignedOut, webErrorText } from './errors';
import { type Period, type Preset, periodOf } from './periods';

/** The figures of a report, apart from what they cover: they change seldom, the coverage with every answer. */
export type Figures = Omit<SalesReport, 'coverage'>;

/** The sales report on the screen: what is asked, the last answer, and why there is no newer one. */
export class Report {
  period = $state.raw<Period>({ from: '', to: '' });
  groupBy = $state<GroupBy>('day');
  /** The last answer; it stays while a newer one is on its way, and is the same object while it says the same. */
  figures = $state.raw<Figures | null>(null);
  coverage = $state.raw<Coverage | null>(null);
  problem = $state<string | null>(null);
  #backend: ManagerBackend;
  #onSignedOut: () => void;
  #asked = 0;
  #shown = '';

  constructor(backend: ManagerBackend, onSignedOut: () => void, today: Date) {
    this.#backend = backend;
    this.#onSignedOut = onSignedOut;
    this.period = periodOf('week', today);
  }

  /** Whether the answer is for what is chosen now. */
  isCurrent = $derived(
    this.figures?.from === this.period.from &&
      this.figures.to === this.period.to &&
      this.figures.group_by === this.groupBy,
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
    const mine = ++this.#asked;
    if (!this.isPossible) {
      this.problem = t('sales.bad_range');
      return;
    }
    try {
      const answer = await this.#backend.sales(this.period.from, this.period.to, this.groupBy);
      if (mine === this.#asked) this.#show(answer);
    } catch (thrown) {
      if (mine !== this.#asked) return;
      if (isSignedOut(thrown)) this.#onSignedOut();
      else this.problem = webErrorText(thrown);
    }
  }

  #show({ coverage, ...figures }: SalesReport): void {
    this.problem = null;
    this.coverage = coverage;
    const said = JSON.stringify(figures);
    if (said === this.#shown) return;
    this.#shown = said;
    this.figures = figures;
  }
}
