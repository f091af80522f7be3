/** Which days a page asks about, read from its address. A preset stays one: a bookmark of "today" is of every today. */
import { dayIn, daysOf, daysOfPreset, isDay, isTimeZone, type Preset, PRESETS } from '../../../lib/days';
import type { Span } from '../../../lib/manager';

/** The longest span that is asked; the server says the same. */
const DAYS_MAX = 36_600;

export interface ReadSpan {
  span: Span;
  preset: Preset | null;
  /** Whether the days that the address names make no span. */
  isWrong: boolean;
}

/** The span that an address asks for. `timeZone` is where "today" is when the address names no zone. */
export function readSpan(query: URLSearchParams, timeZone: string, nowMs: number, usual: Preset): ReadSpan {
  const named = query.get('time_zone');
  const zone = named && isTimeZone(named) ? named : null;
  const more: Partial<Span> = {};
  if (query.get('basis') === 'clock') more.basis = 'clock';
  if (zone) more.time_zone = zone;
  const store = query.get('store');
  if (store) more.store = store;
  const currency = query.get('currency');
  if (currency) more.currency = currency;

  const today = dayIn(zone ?? timeZone, nowMs);
  const [from, to] = [query.get('from') ?? '', query.get('to') ?? ''];
  const isNamed = from !== '' || to !== '';
  if (isNamed && isDay(from) && isDay(to) && from <= to && daysOf({ from, to }) <= DAYS_MAX)
    return { span: { from, to, ...more }, preset: null, isWrong: false };
  const asked = PRESETS.find((preset) => preset === query.get('range'));
  const preset = asked ?? usual;
  return { span: { ...daysOfPreset(preset, today), ...more }, preset, isWrong: isNamed };
}

/** What an address says for a preset, or for days of one's own. */
export const presetQuery = (preset: Preset) => ({ range: preset, from: null, to: null });
export const daysQuery = (from: string, to: string) => ({ range: null, from, to });
