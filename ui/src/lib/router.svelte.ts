/**
 * Where one is: the address bar is the only memory of page, filters and what is open, so that a reload, a bookmark and
 * the back button find it again. Links are ordinary links; this takes their clicks.
 */

type Values = Record<string, string | null | undefined>;

/** The address with some parameters set, and those that are null taken away. */
export function withQuery(url: URL, values: Values, path = url.pathname): string {
  const query = new URLSearchParams(url.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return path + (text ? `?${text}` : '');
}

/** A path with parameters; what is undefined is left out. */
export function address(path: string, values: Values = {}): string {
  return withQuery(new URL(path, 'http://x'), values);
}

export class Router {
  url: URL;
  /** Asked before the address changes. False keeps it: then `blocked` holds where one wanted to go. */
  mayLeave: (to: URL) => boolean = () => true;
  blocked: string | null;
  #depth = 0;
  #stop: (() => void) | null = null;
  #window: Window;

  constructor(window: Window = globalThis.window) {
    this.#window = window;
    this.url = $state.raw(new URL(window.location.href));
    this.blocked = $state<string | null>(null);
  }

  get path(): string {
    return this.url.pathname;
  }

  get query(): URLSearchParams {
    return this.url.searchParams;
  }

  /** Takes clicks on links and the back button until stopped. */
  start(): () => void {
    const { history } = this.#window;
    this.#depth = (history.state as { depth?: number } | null)?.depth ?? 0;
    const click = (event: MouseEvent) => this.#click(event);
    const pop = () => this.#pop();
    this.#window.document.addEventListener('click', click);
    this.#window.addEventListener('popstate', pop);
    this.#stop = () => {
      this.#window.document.removeEventListener('click', click);
      this.#window.removeEventListener('popstate', pop);
    };
    return this.#stop;
  }

  /** Goes to a path with its parameters. `isSame` replaces the entry of the history: for filters that are being typed. */
  go(href: string, { isSame = false, isSure = false } = {}): void {
    const to = new URL(href, this.url);
    if (to.href === this.url.href) return;
    if (!isSure && !this.mayLeave(to)) {
      this.blocked = to.pathname + to.search;
      return;
    }
    const { history } = this.#window;
    if (isSame) history.replaceState({ depth: this.#depth }, '', to);
    else history.pushState({ depth: ++this.#depth }, '', to);
    this.url = to;
  }

  /** Changes parameters of where one is. */
  set(values: Values, isSame = false): void {
    this.go(withQuery(this.url, values), { isSame });
  }

  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a[href]') as HTMLAnchorElement | null;
    if (!link || link.target || link.hasAttribute('download')) return;
    const to = new URL(link.href, this.url);
    if (
      to.origin !== this.url.origin ||
      to.pathname.startsWith('/api/') ||
      link.getAttribute('href')!.startsWith('#')
    )
      return;
    event.preventDefault();
    this.go(to.href);
  }

  #pop(): void {
    const { history, location } = this.#window;
    const to = new URL(location.href);
    const depth = (history.state as { depth?: number } | null)?.depth ?? 0;
    if (to.pathname + to.search !== this.url.pathname + this.url.search && !this.mayLeave(to)) {
      // Stays: the entry that was left is put back, and the way asked for is kept for when one is sure.
      this.blocked = to.pathname + to.search;
      if (depth !== this.#depth) history.go(this.#depth - depth);
      return;
    }
    this.#depth = depth;
    this.url = to;
  }
}
