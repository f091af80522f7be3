/** Short notes at the edge of the screen that go away by themselves, some with a way back. */

export interface Toast {
  id: number;
  tone: 'info' | 'warn' | 'danger';
  text: string;
  action: { label: string; run: () => void } | null;
}

const SHOWN_MS = 8_000;
const TOASTS_MAX = 3;

export class Toasts {
  shown = $state.raw<Toast[]>([]);
  #next = 1;
  #timers = new Map<number, ReturnType<typeof setTimeout>>();

  say(text: string, more: Partial<Pick<Toast, 'tone' | 'action'>> = {}): void {
    const toast = { id: this.#next++, tone: 'info' as const, text, action: null, ...more };
    this.shown = [...this.shown, toast].slice(-TOASTS_MAX);
    this.rest(toast.id);
  }

  /** Counts down again: nobody is looking at it any more. */
  rest(id: number): void {
    this.hold(id);
    this.#timers.set(
      id,
      setTimeout(() => this.drop(id), SHOWN_MS),
    );
  }

  /** Stays while somebody is about to use it. */
  hold(id: number): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  drop(id: number): void {
    this.hold(id);
    this.shown = this.shown.filter((toast) => toast.id !== id);
  }
}
