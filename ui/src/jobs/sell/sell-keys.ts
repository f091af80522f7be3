/**
 * The keyboard of the sell screen. A scanner is heard wherever the focus is; in a field its code is taken out again,
 * so that a barcode never becomes an amount, a reason or a PIN. Outside fields digits gather into an entry.
 */
import { entryOfScan, type Entry, KEYS_MAX, ScanDetector } from '../../lib/scan';

export interface SellKeysEvents {
  onScan(entry: Entry): void;
  /** Text typed outside a field, ended with Enter. Empty when only Enter was pressed. */
  onTyped(text: string): void;
  /** What stands in the entry now. */
  onEntry(text: string): void;
  /** True when the key meant something. */
  onKey(key: string): boolean;
}

type TextField = HTMLInputElement | HTMLTextAreaElement;

/** Keys that mean the same in a field as outside one. */
const EVERYWHERE = /^(F\d{1,2}|Escape)$/;

export class SellKeys {
  #events: SellKeysEvents;
  #detector = new ScanDetector();
  #field: TextField | null = null;
  /** What the field held before each of the keys that the detector holds. */
  #before: string[] = [];

  constructor(events: SellKeysEvents) {
    this.#events = events;
  }

  /** The entry so far; empty while a field has the focus. */
  get entry(): string {
    return this.#field ? '' : this.#detector.text;
  }

  clear(): void {
    this.#detector.clear();
    this.#before = [];
    this.#told();
  }

  /** To be called with every keydown of the window, before anyone else hears it. */
  handle(event: KeyboardEvent): void {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = textFieldOf(event.target);
    this.#follow(field);
    if (event.key === 'Enter') this.#enter(event, field);
    else if (EVERYWHERE.test(event.key)) this.#command(event);
    else if (event.key.length === 1) this.#press(event, field);
    else if (!field && event.key === 'Backspace') this.#erase();
    else if (!field && !isChooser(event.target)) this.#command(event);
  }

  #enter(event: KeyboardEvent, field: TextField | null): void {
    const typed = this.#detector.enter(event.timeStamp);
    const before = this.#before;
    this.#before = [];
    if (typed.scanned !== null && field?.dataset['scan'] !== 'text') {
      swallow(event);
      if (field) restore(field, before.at(-typed.scanned.length) ?? '');
      this.#told();
      this.#events.onScan(entryOfScan(typed));
      return;
    }
    if (field || (typed.text === '' && isPressable(event.target))) return;
    swallow(event);
    this.#told();
    if (!event.repeat) this.#events.onTyped(typed.text);
  }

  #press(event: KeyboardEvent, field: TextField | null): void {
    if (field) {
      this.#before.push(field.value);
      if (this.#before.length > KEYS_MAX) this.#before.shift();
      this.#detector.press(event.key, event.timeStamp);
      return;
    }
    if (isChooser(event.target)) return;
    const isFirst = this.#detector.text === '';
    if (isFirst && event.key === ' ' && isPressable(event.target)) return;
    event.preventDefault();
    if (isFirst && this.#events.onKey(event.key)) return;
    this.#detector.press(event.key, event.timeStamp);
    this.#told();
  }

  #erase(): void {
    this.#detector.erase();
    this.#told();
  }

  #command(event: KeyboardEvent): void {
    if (event.repeat && EVERYWHERE.test(event.key)) return event.preventDefault();
    if (this.#events.onKey(event.key)) event.preventDefault();
  }

  /** What was typed into one field, or outside, says nothing about the next. */
  #follow(field: TextField | null): void {
    if (field === this.#field) return;
    this.#field = field;
    this.clear();
  }

  #told(): void {
    this.#events.onEntry(this.entry);
  }
}

function textFieldOf(target: EventTarget | null): TextField | null {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement ? target : null;
}

const isPressable = (target: EventTarget | null) =>
  target instanceof HTMLButtonElement ||
  target instanceof HTMLAnchorElement ||
  (target instanceof HTMLElement && target.tagName === 'SUMMARY');

const isChooser = (target: EventTarget | null) => target instanceof HTMLSelectElement;

function swallow(event: KeyboardEvent): void {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function restore(field: TextField, value: string): void {
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
}
