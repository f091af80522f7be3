/** What every page of the back office has at hand: the server, the address, the live feed, the stores, short notes. */
import { getContext, setContext } from 'svelte';
import type { StoreView } from '../../../lib/api/server.gen';
import { isTimeZone } from '../../../lib/days';
import type { LiveSurroundings } from '../../../lib/live';
import type { ManagerBackend } from '../../../lib/manager';
import { t } from '../../../lib/messages';
import type { Router } from '../../../lib/router.svelte';
import { isSignedOut, webErrorText } from './errors';
import { LiveNews } from './live-news.svelte';
import { Toasts } from './toasts.svelte';

const KEY = Symbol('office');
/** How often times that say "4 min ago" are read again. */
const TICK_MS = 15_000;

export interface OfficeSurroundings extends LiveSurroundings {
  now(): number;
}

export class Office {
  readonly live: LiveNews;
  readonly toasts = new Toasts();
  /** By name. Empty until the server has said. */
  stores = $state.raw<StoreView[]>([]);
  now = $state(0);
  /** Whoever was signed in is not any more. */
  isSignedOut = $state(false);
  #around: OfficeSurroundings;

  constructor(
    readonly backend: ManagerBackend,
    readonly router: Router,
    around: OfficeSurroundings,
  ) {
    this.#around = around;
    this.live = new LiveNews(around);
    this.now = around.now();
  }

  start(): () => void {
    const stopLive = this.live.start();
    const timer = setInterval(() => this.tick(), TICK_MS);
    return () => {
      clearInterval(timer);
      stopLive();
    };
  }

  tick(): void {
    this.now = this.#around.now();
  }

  /** The store with this code, or the first one. */
  storeOf(code: string | null | undefined): StoreView | undefined {
    return this.stores.find((store) => store.code === code) ?? this.stores[0];
  }

  /** The time zone of a store, of the first one, or of the screen while no store is known. */
  timeZone(code?: string | null): string {
    const named = this.storeOf(code)?.time_zone;
    return named && isTimeZone(named) ? named : Intl.DateTimeFormat().resolvedOptions().timeZone;
  }

  async loadStores(): Promise<void> {
    try {
      this.stores = await this.backend.stores();
    } catch (thrown) {
      this.failed(thrown);
    }
  }

  /** What a failed call says, for the place that shows it; leads to signing in when that is what it needs. */
  failed(thrown: unknown): string {
    if (isSignedOut(thrown)) this.isSignedOut = true;
    return webErrorText(thrown);
  }

  /** Does something, and says so when it fails. */
  async try(action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (thrown) {
      this.toasts.say(this.failed(thrown), { tone: 'danger' });
      return false;
    }
  }

  /** Says that something is saved, with a way back. */
  saved(text: string, undo: () => Promise<void>): void {
    this.toasts.say(text, {
      action: {
        label: t('app.undo'),
        run: () =>
          void this.try(async () => {
            await undo();
            this.toasts.say(t('app.undone'));
          }),
      },
    });
  }
}

export const setOffice = (office: Office) => setContext(KEY, office);

export function getOffice(): Office {
  return getContext<Office>(KEY);
}
