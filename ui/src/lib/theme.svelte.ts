/** Light, dark, or as the machine says. Kept in this browser; the tokens answer to `data-theme` on the root. */

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'evertill.theme';
const ORDER: Theme[] = ['system', 'light', 'dark'];

function read(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}

class ThemeChoice {
  current = $state<Theme>('system');
  /** Counts changes of what is seen, for whatever paints with script. */
  painted = $state(0);

  start(): void {
    this.#set(read());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (this.painted += 1));
  }

  next(): void {
    this.#set(ORDER[(ORDER.indexOf(this.current) + 1) % ORDER.length]!);
  }

  #set(theme: Theme): void {
    this.current = theme;
    if (theme === 'system') {
      delete document.documentElement.dataset['theme'];
      localStorage.removeItem(KEY);
    } else {
      document.documentElement.dataset['theme'] = theme;
      localStorage.setItem(KEY, theme);
    }
    this.painted += 1;
  }
}

export const theme = new ThemeChoice();
