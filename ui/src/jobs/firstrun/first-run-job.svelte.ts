import { t, tOr } from '../../lib/messages';
import { isProblem, type Problem, type Shown, type WindowHost } from '../../lib/window';

/** Making this machine a till, with the link that a manager gave. */
export class FirstRunJob {
  link = $state('');
  isBusy = $state(false);
  problem = $state.raw<Problem | null>(null);

  #host: WindowHost;
  #onShown: (shown: Shown) => void;

  constructor(host: WindowHost, onShown: (shown: Shown) => void) {
    this.#host = host;
    this.#onShown = onShown;
  }

  /** What went wrong, and what to do. */
  get error(): string | null {
    return this.problem && problemText(this.problem);
  }

  async submit(): Promise<void> {
    const link = this.link.trim();
    if (this.isBusy || link === '') return;
    this.isBusy = true;
    this.problem = null;
    try {
      this.#onShown(await this.#host.enrol(link));
    } catch (thrown) {
      if (!isProblem(thrown)) throw thrown;
      this.problem = thrown;
    } finally {
      this.isBusy = false;
    }
  }
}

export function problemText(problem: Problem): string {
  return tOr(`window.problem.${problem.code}`, problem.message, { message: problem.message });
}

export function problemTitle(problem: Problem): string {
  return tOr(`window.stuck.${problem.code}`, t('window.stuck.title'));
}
