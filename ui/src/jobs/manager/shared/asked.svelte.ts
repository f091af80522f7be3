/** Questions to the server whose answers are on the screen, and are asked anew when they may have changed. */
import { untrack } from 'svelte';
import type { PageOf } from '../../../lib/manager';
import { isPassing } from './errors';
import type { Office } from './office.svelte';

/** A question that failed is asked again after this long. */
const RETRY_MS = 5_000;

export class Asked<T> {
  /** The last answer; it stays while a newer one is on its way, and is the same object while it says the same. */
  answer = $state.raw<T | null>(null);
  /** Whether the answer is to an earlier question than the one that is asked now. */
  isOld = $state(false);
  /** Why there is no newer answer. */
  problem = $state<string | null>(null);
  answeredAt = $state(0);
  #office: Office;
  #asked = 0;
  #key: string | null = null;
  #said = '';
  #retry: ReturnType<typeof setTimeout> | undefined;
  #isBusy = false;
  #again: (() => void) | null = null;

  constructor(office: Office) {
    this.#office = office;
  }

  /**
   * Asks, `key` being what tells one question from another. Only the answer to the newest counts. The same question is
   * not asked twice at once: it waits for its answer and is then asked once more.
   */
  async ask(key: string, question: () => Promise<T>): Promise<void> {
    const isSame = key === this.#key;
    if (isSame && this.#isBusy) {
      this.#again = () => void this.ask(key, question);
      return;
    }
    clearTimeout(this.#retry);
    this.#again = null;
    if (!isSame) this.isOld = this.answer !== null;
    this.#key = key;
    const mine = ++this.#asked;
    this.#isBusy = true;
    try {
      const answer = await question();
      if (mine !== this.#asked) return;
      this.problem = null;
      this.#show(answer);
    } catch (thrown) {
      if (mine !== this.#asked) return;
      this.problem = this.#office.failed(thrown);
      if (isPassing(thrown)) this.#retry = setTimeout(() => void this.ask(key, question), RETRY_MS);
    }
    this.#isBusy = false;
    this.#goOn();
  }

  #goOn(): void {
    const again = this.#again;
    this.#again = null;
    again?.();
  }

  /** What is known without asking, such as the answer to an edit. */
  know(answer: T): void {
    this.#show(answer);
  }

  forget(): void {
    this.#asked += 1;
    this.#isBusy = false;
    this.#key = null;
    this.#said = '';
    this.answer = null;
    this.problem = null;
    this.isOld = false;
  }

  stop(): void {
    this.#asked += 1;
    clearTimeout(this.#retry);
  }

  #show(answer: T): void {
    this.isOld = false;
    this.answeredAt = this.#office.now;
    const said = JSON.stringify(answer);
    if (said === this.#said && this.answer !== null) return;
    this.#said = said;
    this.answer = answer;
  }
}

/**
 * A question that a component asks while it is there: anew when `key` changes or one of `wakes` does. A null key asks
 * nothing.
 */
export function asks<T>(
  office: Office,
  key: () => string | null,
  question: () => Promise<T>,
  wakes: () => unknown,
): Asked<T> {
  const asked = new Asked<T>(office);
  $effect(() => {
    const name = key();
    wakes();
    untrack(() => {
      if (name === null) asked.forget();
      else void asked.ask(name, question);
    });
  });
  $effect(() => () => asked.stop());
  return asked;
}

interface Page {
  rows: unknown[];
  next: string | null;
}
type RowOf<P extends Page> = P['rows'][number];

/** What a list is to whoever shows it. */
export interface PagesOf<Row> {
  rows: Row[];
  next: string | null;
  isLoadingMore: boolean;
  idOf: (row: Row) => string;
  more(): Promise<void>;
}

export const PAGE_ROWS = 50;
const PAGE_ROWS_MAX = 500;

type AskPage<P extends Page> = (page: PageOf) => Promise<P>;

/** A list that comes in pages: what is loaded is asked anew as one, up to the most that a page may have. */
export class Pages<P extends Page> implements PagesOf<RowOf<P>> {
  isLoadingMore = $state(false);
  readonly head: Asked<P>;
  /** What tells its rows apart. */
  readonly idOf: (row: RowOf<P>) => string;
  #office: Office;
  /** What follows the head. */
  #tail = $state.raw<{ rows: RowOf<P>[]; next: string | null } | null>(null);
  #asked: { key: string; page: AskPage<P> } | null = null;

  constructor(office: Office, idOf: (row: RowOf<P>) => string) {
    this.#office = office;
    this.idOf = idOf;
    this.head = new Asked<P>(office);
  }

  rows: RowOf<P>[] = $derived.by(() => {
    const head = this.head.answer?.rows ?? [];
    if (!this.#tail) return head;
    const known = new Set(head.map(this.idOf));
    return [...head, ...this.#tail.rows.filter((row) => !known.has(this.idOf(row)))];
  });
  next = $derived.by(() => (this.#tail ? this.#tail.next : (this.head.answer?.next ?? null)));

  ask(key: string, page: AskPage<P>): void {
    if (key !== this.#asked?.key) this.#tail = null;
    this.#asked = { key, page };
    // Rows that were loaded by and by come anew in one answer as far as one may hold them.
    const count = untrack(() => this.rows.length);
    const rows = this.#tail ? Math.min(PAGE_ROWS_MAX, count) : PAGE_ROWS;
    void this.head.ask(key, () => page({ limit: String(rows) }));
  }

  async more(): Promise<void> {
    const [after, asked] = [this.next, this.#asked];
    if (after === null || asked === null || this.isLoadingMore) return;
    this.isLoadingMore = true;
    await this.#office.try(async () => {
      const page = await asked.page({ after, limit: String(PAGE_ROWS) });
      if (asked.key === this.#asked?.key)
        this.#tail = { rows: [...(this.#tail?.rows ?? []), ...page.rows], next: page.next };
    });
    this.isLoadingMore = false;
  }

  stop(): void {
    this.head.stop();
  }
}

/** A list that a component shows while it is there: asked anew when `question` changes or one of `wakes` does. */
export function lists<Q, P extends Page>(
  office: Office,
  question: () => Q,
  page: (question: Q, page: PageOf) => Promise<P>,
  idOf: (row: RowOf<P>) => string,
  wakes: () => unknown,
): Pages<P> {
  const pages = new Pages<P>(office, idOf);
  $effect(() => {
    const asked = question();
    wakes();
    untrack(() => pages.ask(JSON.stringify(asked), (of) => page(asked, of)));
  });
  $effect(() => () => pages.stop());
  return pages;
}
