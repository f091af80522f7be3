/** Instants as people read them, in a time zone that is given: a shop's times are the shop's, wherever they are read. */
import { locale, t } from './messages';
import { dayIn } from './days';

const formats = new Map<string, Intl.DateTimeFormat>();

function format(name: string, timeZone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${name}/${timeZone}`;
  const known = formats.get(key);
  if (known) return known;
  const made = new Intl.DateTimeFormat(locale, { ...options, timeZone });
  formats.set(key, made);
  return made;
}

const CLOCK = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
const SHORT_DAY = { day: 'numeric', month: 'short' } as const;

/** "14:32". */
export const clock = (unixMs: number, timeZone: string) => format('clock', timeZone, CLOCK).format(unixMs);

/** "14:32" today, "3 Feb, 14:32" this year, "3 Feb 2024, 14:32" before. */
export function moment(unixMs: number, timeZone: string, nowMs: number): string {
  const [day, today] = [dayIn(timeZone, unixMs), dayIn(timeZone, nowMs)];
  if (day === today) return clock(unixMs, timeZone);
  if (day.slice(0, 4) === today.slice(0, 4))
    return format('moment', timeZone, { ...SHORT_DAY, ...CLOCK }).format(unixMs);
  return format('old', timeZone, { ...SHORT_DAY, year: 'numeric', ...CLOCK }).format(unixMs);
}

/** To the second, with the name of the zone: what a hover says. */
export const exact = (unixMs: number, timeZone: string) =>
  format('exact', timeZone, {
    weekday: 'short',
    ...SHORT_DAY,
    year: 'numeric',
    ...CLOCK,
    second: '2-digit',
    timeZoneName: 'short',
  }).format(unixMs);

const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'always', style: 'short' });

/** "just now", "4 min ago", "3 hr ago", "2 days ago". A moment ahead of our clock is now. */
export function ago(unixMs: number, nowMs: number): string {
  const s = Math.max(0, Math.floor((nowMs - unixMs) / 1000));
  if (s < 45) return t('time.just_now');
  if (s < 3600) return relative.format(-Math.max(1, Math.round(s / 60)), 'minute');
  if (s < 86_400) return relative.format(-Math.round(s / 3600), 'hour');
  return relative.format(-Math.round(s / 86_400), 'day');
}

const noon = (day: string) => Date.parse(`${day}T12:00:00Z`);

/** "Sat, 21 Nov", with the year when it is not the one of `today`. */
export function dayWords(day: string, today: string): string {
  const withYear = day.slice(0, 4) !== today.slice(0, 4);
  const options = {
    weekday: 'short',
    ...SHORT_DAY,
    ...(withYear ? { year: 'numeric' as const } : {}),
  } as const;
  return format(`day/${withYear}`, 'UTC', options).format(noon(day));
}

/** "Saturday, 21 November 2026". */
export const dayTitle = (day: string) =>
  format('title', 'UTC', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }).format(
    noon(day),
  );

/** "Saturday". */
export const weekday = (day: string) => format('weekday', 'UTC', { weekday: 'long' }).format(noon(day));

/** "15 – 21 Nov 2026". */
export const spanWords = (from: string, to: string) =>
  format('span', 'UTC', { ...SHORT_DAY, year: 'numeric' }).formatRange(noon(from), noon(to));

/** "14:00". */
export const hourWords = (hour: number) => `${String(hour).padStart(2, '0')}:00`;
