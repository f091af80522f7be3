/** Something that a form sends: once at a time, and why the last time failed. */
export class Sending {
  isSent = $state(false);
  problem = $state<string | null>(null);
  #says: { failed(thrown: unknown): string };

  /** `says` is what puts a failure into words: the office, where there is one. */
  constructor(says: { failed(thrown: unknown): string }) {
    this.#says = says;
  }

  /** What is not even sent. */
  refuse(problem: string): void {
    this.problem = problem;
  }

  /** Does nothing while the one before is on its way. */
  async send(action: () => Promise<void>): Promise<void> {
    if (this.isSent) return;
    this.isSent = true;
    this.problem = null;
    try {
      await action();
    } catch (thrown) {
      this.problem = this.#says.failed(thrown);
    }
    this.isSent = false;
  }
}
