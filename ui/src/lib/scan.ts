/**
 * Tells a scanner from fingers. A wedge scanner types a code in one burst and ends it with Enter; nobody types
 * that fast. The detector sees every key with its time and says, at Enter, what was meant.
 */

/** Keys of a burst follow one another within this time. Scanners need 1 to 30 ms, the fastest typists about 80. */
export const BURST_GAP_MS = 50;
/** Shorter bursts are two fingers landing together. */
export const BURST_LENGTH_MIN = 4;
/** Longer text than any code is dropped from the front. */
export const KEYS_MAX = 128;

export interface Typed {
  /** Everything typed since the last Enter, burst included. */
  text: string;
  /** The code a scanner sent, when the end of `text` was a burst. */
  scanned: string | null;
  /** How many characters of `text` came before the burst. */
  before: number;
}

export class ScanDetector {
  #keys: { key: string; at: number }[] = [];

  /** What has been typed so far. */
  get text(): string {
    return this.#keys.map((k) => k.key).join('');
  }

  /** Takes one printable key. */
  press(key: string, at: number): void {
    this.#keys.push({ key, at });
    if (this.#keys.length > KEYS_MAX) this.#keys.shift();
  }

  erase(): void {
    this.#keys.pop();
  }

  clear(): void {
    this.#keys = [];
  }

  /** Takes Enter, forgets everything and says what it was. */
  enter(at: number): Typed {
    const keys = this.#keys;
    const text = this.text;
    this.clear();
    let start = keys.length;
    let next = at;
    while (start > 0 && next - keys[start - 1]!.at <= BURST_GAP_MS) {
      start -= 1;
      next = keys[start]!.at;
    }
    const isBurst = keys.length - start >= BURST_LENGTH_MIN;
    return { text, scanned: isBurst ? text.slice(start) : null, before: isBurst ? start : text.length };
  }
}

export interface Entry {
  code: string;
  /** Thousandths; null when no quantity was named. */
  quantityMilli: number | null;
}

/** Reads `6*CODE`, `1.5*CODE` or `CODE`. A quantity without a code has an empty code. */
export function parseEntry(text: string): Entry {
  const match = /^(\d{1,5})(?:[.,](\d{1,3}))?\*(.*)$/.exec(text.trim());
  if (!match) return { code: text.trim(), quantityMilli: null };
  const milli = Number(match[1]) * 1000 + Number((match[2] ?? '').padEnd(3, '0'));
  if (milli === 0) return { code: text.trim(), quantityMilli: null };
  return { code: match[3]!.trim(), quantityMilli: milli };
}

/** What a scan means: a quantity typed just before it (`6*`) counts, any other stray keys do not. */
export function entryOfScan(typed: Typed): Entry {
  const scanned = parseEntry(typed.scanned ?? typed.text);
  if (scanned.quantityMilli !== null) return scanned;
  const before = parseEntry(typed.text.slice(0, typed.before));
  return before.code === '' ? { code: scanned.code, quantityMilli: before.quantityMilli } : scanned;
}
