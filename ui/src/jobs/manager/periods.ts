import { isoDay } from '../../lib/time';

export interface Period {
  from: string;
  to: string;
}

export type Preset = 'today' | 'week' | 'month' | 'year' | 'all';

export const PRESETS: Preset[] = ['today', 'week', 'month', 'year', 'all'];

/** No shop's books that anyone brings here begin earlier. */
const FIRST_DAY = '2000-01-01';

/** The days a preset means, today included. */
export function periodOf(preset: Preset, today: Date): Period {
  const to = isoDay(today);
  if (preset === 'all') return { from: FIRST_DAY, to };
  const back = { today: 0, week: 6, month: 29, year: 0 }[preset];
  const from = new Date(today.getFullYear(), today.getMonth(), today.getDate() - back);
  if (preset === 'year') from.setFullYear(from.getFullYear() - 1, from.getMonth(), from.getDate() + 1);
  return { from: isoDay(from), to };
}

/** The preset that a period is, if any. */
export function presetOf(period: Period, today: Date): Preset | null {
  return (
    PRESETS.find((preset) => {
      const { from, to } = periodOf(preset, today);
      return from === period.from && to === period.to;
    }) ?? null
  );
}
