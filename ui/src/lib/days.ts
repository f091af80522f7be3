/** Days as `YYYY-MM-DD`, and the spans of them that people ask about. Which day it is depends on where: a time zone is always given. */

export interface Days {
  from: string;
  to: string;
}

export const PRESETS = [
  'today',
  'yesterday',
  'this_week',
  'last_7',
  'last_30',
  'this_month',
  'last_month',
  'this_year',
] as const;
export type Preset = (typeof PRESETS)[number];

const DAY_MS = 86_400_000;
const civil = new Map<string, Intl.DateTimeFormat>();

function formatIn(timeZone: string): Intl.DateTimeFormat {
  const known = civil.get(timeZone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    hourCycle: 'h23',
  });
  civil.set(timeZone, made);
  return made;
}

function partsIn(timeZone: string, unixMs: number): Record<string, string> {
  return Object.fromEntries(
    formatIn(timeZone)
      .formatToParts(unixMs)
      .map(({ type, value }) => [type, value]),
  );
}

/** The day that an instant falls on in a time zone. */
export function dayIn(timeZone: string, unixMs: number): string {
  const { year, month, day } = partsIn(timeZone, unixMs);
  return `${year}-${month}-${day}`;
}

/** The hour, 0 to 23, that an instant falls in. */
export const hourIn = (timeZone: string, unixMs: number) => Number(partsIn(timeZone, unixMs)['hour']);

/** Whether the browser knows a time zone by this name. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

// Days are counted at noon UTC: no clock is ever put forward far enough to change the day.
const noon = (day: string) => Date.parse(`${day}T12:00:00Z`);
const write = (unixMs: number) => new Date(unixMs).toISOString().slice(0, 10);

/** Whether it is a day that exists, written `YYYY-MM-DD`. */
export const isDay = (text: string) =>
  /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(noon(text)) && write(noon(text)) === text;

export const addDays = (day: string, count: number) => write(noon(day) + count * DAY_MS);

/** How many days a span has, both ends included. */
export const daysOf = ({ from, to }: Days) => Math.round((noon(to) - noon(from)) / DAY_MS) + 1;

/** Weeks begin on Monday. */
const weekStart = (day: string) => addDays(day, -((new Date(noon(day)).getUTCDay() + 6) % 7));
const monthStart = (day: string) => `${day.slice(0, 8)}01`;

export function daysOfPreset(preset: Preset, today: string): Days {
  switch (preset) {
    case 'today':
      return { from: today, to: today };
    case 'yesterday':
      return { from: addDays(today, -1), to: addDays(today, -1) };
    case 'this_week':
      return { from: weekStart(today), to: today };
    case 'last_7':
      return { from: addDays(today, -6), to: today };
    case 'last_30':
      return { from: addDays(today, -29), to: today };
    case 'this_month':
      return { from: monthStart(today), to: today };
    case 'last_month': {
      const to = addDays(monthStart(today), -1);
      return { from: monthStart(to), to };
    }
    case 'this_year':
      return { from: `${today.slice(0, 4)}-01-01`, to: today };
  }
}
