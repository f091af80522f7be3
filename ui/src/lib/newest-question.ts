/** Asks one question at a time. What is asked meanwhile is asked once more when that is answered, as it is by then. */
export class NewestQuestion {
  readonly #put: () => Promise<void>;
  #isAsking = false;
  #isStale = false;

  constructor(put: () => Promise<void>) {
    this.#put = put;
  }

  async ask(): Promise<void> {
    this.#isStale = true;
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#isStale) {
      this.#isStale = false;
      await this.#put();
    }
    this.#isAsking = false;
  }
}
