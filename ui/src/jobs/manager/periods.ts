import { isoDay } from '../../lib/time';

export interface Period {
  from: string;
  to: string;
}

export type Preset = 'today' | 'week' | 'month' | 'year' | 'decade';

export const PRESETS: Preset[] = ['today', 'week', 'month', 'year', 'decade'];

/** The days a preset means, today included. */
export function periodOf(preset: Preset, today: Date): Period {
  const to = isoDay(today);
  const days = { today: 0, week: 6, month: 29, year: -1, decade: -1 }[preset];
  const years = { today: 0, week: 0, month: 0, year: 1, decade: 10 }[preset];
  const from = new Date(today.getFullYear() - years, today.getMonth(), today.getDate() - days);
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
