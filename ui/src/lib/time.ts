/** Instants and days as people read them, in the time zone of the screen. */
import { locale } from './messages';

const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const dayAndClock = new Intl.DateTimeFormat(locale, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});
const fullDay = new Intl.DateTimeFormat(locale, {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  timeZone: 'UTC',
});

/** "14:32" on the same day as `now`, "3 Feb, 14:32" otherwise. */
export function moment(unixMs: number, now: number): string {
  const at = new Date(unixMs);
  const sameDay = at.toDateString() === new Date(now).toDateString();
  return (sameDay ? clock : dayAndClock).format(at);
}

/** A business day, `YYYY-MM-DD`, in words. It has no time zone: it is what the shift says. */
export function businessDay(day: string): string {
  const at = new Date(`${day}T00:00:00Z`);
  return Number.isNaN(at.getTime()) ? day : fullDay.format(at);
}

/** The day that `at` falls on where the screen stands, as `YYYY-MM-DD`. */
export function isoDay(at: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Waits, for whoever hands a clock to a test. */
export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
