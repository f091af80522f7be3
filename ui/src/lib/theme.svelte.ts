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
  /** Paper is white, whatever the screen is. */
  isOnPaper = $state(false);

  start(): void {
    this.#set(read());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (this.painted += 1));
    addEventListener('beforeprint', () => this.#print(true));
    addEventListener('afterprint', () => this.#print(false));
  }

  next(): void {
    this.#set(ORDER[(ORDER.indexOf(this.current) + 1) % ORDER.length]!);
  }

  #set(theme: Theme): void {
    this.current = theme;
    if (theme === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
    this.#show(theme);
  }

  /** Scripts paint before the styles of paper hold: the root is light for as long as it is printed. */
  #print(isOnPaper: boolean): void {
    this.isOnPaper = isOnPaper;
    this.#show(isOnPaper ? 'light' : this.current);
  }

  #show(theme: Theme): void {
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    this.painted += 1;
  }
}

export const theme = new ThemeChoice();
