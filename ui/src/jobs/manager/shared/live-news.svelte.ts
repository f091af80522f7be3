/** What the live feed says, as the pages need it: counters that grow when something is to be asked anew. */
import type { ImportState, LiveEvent, LiveSale } from '../../../lib/api/server.gen';
import { LiveFeed, type LinkState, type LiveSurroundings } from '../../../lib/live';

/** Figures may change four times a second; a page asks at most this often. */
export const FIGURES_MS = 800;
/** How often pages ask while there is no feed. */
export const POLL_MS = 10_000;
/** Sales that are remembered to be shown before the figures have them. */
const SALES_MAX = 50;

export interface ImportNews {
  state: ImportState;
  done: number;
  rows: number;
}

export class LiveNews {
  state = $state<LinkState>('connecting');
  /** Since when there is no feed; null while there is one. */
  lostAt = $state<number | null>(null);
  figures = $state(0);
  devices = $state(0);
  documents = $state(0);
  exceptions = $state(0);
  importsVersion = $state(0);
  openExceptions = $state<number | null>(null);
  /** The newest first; those that the figures have by now are among them. */
  sales = $state.raw<LiveSale[]>([]);
  imports = $state.raw<Record<string, ImportNews>>({});
  #feed: LiveFeed;
  #now: () => number;
  #figuresTimer: ReturnType<typeof setTimeout> | undefined;
  #areFiguresDue = false;
  #pollTimer: ReturnType<typeof setInterval> | undefined;
  #wasLost = false;

  constructor(around: LiveSurroundings & { now(): number }) {
    this.#now = () => around.now();
    this.#feed = new LiveFeed({ onEvent: (e) => this.#hear(e), onState: (s) => this.#link(s) }, around);
  }

  start(): () => void {
    this.#feed.start();
    this.#pollTimer = setInterval(() => {
      if (this.state !== 'live') this.everything();
    }, POLL_MS);
    const hurry = () => {
      if (document.visibilityState === 'visible') this.#feed.hurry();
    };
    addEventListener('online', hurry);
    document.addEventListener('visibilitychange', hurry);
    return () => {
      removeEventListener('online', hurry);
      document.removeEventListener('visibilitychange', hurry);
      clearInterval(this.#pollTimer);
      clearTimeout(this.#figuresTimer);
      this.#feed.stop();
    };
  }

  /** All that is on the screen is asked anew. */
  everything(): void {
    this.figures += 1;
    this.devices += 1;
    this.documents += 1;
    this.exceptions += 1;
    this.importsVersion += 1;
  }

  #link(state: LinkState): void {
    if (state === 'lost') {
      this.#wasLost = true;
      this.lostAt ??= this.#now();
    }
    if (state === 'live') {
      this.lostAt = null;
      if (this.#wasLost) this.everything();
      this.#wasLost = false;
    }
    // While it is being tried again the mark goes on saying since when it is lost.
    this.state = state === 'connecting' && this.lostAt !== null ? 'lost' : state;
  }

  #hear(event: LiveEvent): void {
    switch (event.type) {
      case 'sale':
        if (this.sales.some((known) => known.order === event.sale.order)) return;
        this.sales = [event.sale, ...this.sales].slice(0, SALES_MAX);
        return;
      case 'figures':
        return this.#figuresChanged();
      case 'device':
        this.devices += 1;
        return;
      case 'document':
        this.documents += 1;
        return;
      case 'exceptions':
        this.openExceptions = event.open;
        this.exceptions += 1;
        return;
      case 'import':
        this.imports = {
          ...this.imports,
          [event.id]: { state: event.state, done: event.done, rows: event.rows },
        };
        if (this.imports[event.id]!.done >= event.rows || event.done === 0) this.importsVersion += 1;
        return;
      case 'missed':
        return this.everything();
      case 'hello':
    }
  }

  /** The first is passed on at once, those right after it together. */
  #figuresChanged(): void {
    if (this.#figuresTimer !== undefined) {
      this.#areFiguresDue = true;
      return;
    }
    this.figures += 1;
    this.#figuresTimer = setTimeout(() => {
      this.#figuresTimer = undefined;
      if (!this.#areFiguresDue) return;
      this.#areFiguresDue = false;
      this.#figuresChanged();
    }, FIGURES_MS);
  }
}
