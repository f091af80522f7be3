import { decimal, parseDecimal } from './money';

export type KeypadKey =
  '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8' | '9' | '00' | '.' | 'back' | 'clear';

const TEXT_MAX = 16;

/**
 * An amount that is being typed, by keys or by touch. Until someone types, it shows the amount it was offered
 * and follows it; the first key replaces that.
 */
export class AmountDraft {
  readonly exponent: number;
  #offered: () => number | null;
  #isTrimmed: boolean;
  #typed = $state<string | null>(null);
  #isFresh = $state(true);

  /** `offered` is read again whenever it changes. `isTrimmed` leaves out trailing zeros, as quantities want. */
  constructor(exponent: number, offered: () => number | null = () => null, isTrimmed = false) {
    this.exponent = exponent;
    this.#offered = offered;
    this.#isTrimmed = isTrimmed;
  }

  #offeredText = $derived.by(() => {
    const offered = this.#offered();
    return offered === null ? '' : this.#write(offered);
  });
  /** What the field shows. */
  text = $derived(this.#typed ?? this.#offeredText);
  /** The whole number that the text means; null when it means none. */
  value = $derived.by(() => parseDecimal(this.text, this.exponent));
  isUntouched = $derived(this.#typed === null);

  /** Takes an amount that was picked. The next key starts over. */
  pick(value: number): void {
    this.#typed = this.#write(value);
    this.#isFresh = true;
  }

  /** Takes the whole text of the field, as pasted. */
  type(text: string): void {
    this.#typed = text === this.#offeredText ? null : text.slice(0, TEXT_MAX);
    this.#isFresh = this.#typed === null;
  }

  press(key: KeypadKey): void {
    const kept = this.#isFresh && key !== 'back' ? '' : this.text;
    const next = this.#after(kept, key);
    if (next === null) return;
    this.#typed = next;
    this.#isFresh = false;
  }

  #after(kept: string, key: KeypadKey): string | null {
    if (key === 'clear') return '';
    if (key === 'back') return kept.slice(0, -1);
    if (key === '.' && (this.exponent === 0 || kept.includes('.'))) return null;
    const next = (kept + key).replace(/^\./, '0.').replace(/^0+(?=\d)/, '');
    const fraction = next.split('.')[1] ?? '';
    return next.length > TEXT_MAX || fraction.length > this.exponent ? null : next;
  }

  #write(value: number): string {
    const text = decimal(value, this.exponent);
    return this.#isTrimmed && this.exponent > 0 ? text.replace(/\.?0+$/, '') : text;
  }
}

/** The keypad key that a key of the keyboard stands for. */
export function keypadKey(key: string): KeypadKey | null {
  if (/^\d$/.test(key)) return key as KeypadKey;
  if (key === '.' || key === ',') return '.';
  return key === 'Backspace' ? 'back' : null;
}
