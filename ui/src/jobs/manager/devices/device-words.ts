/** How a device stands and how wrong its clock is, in words and with how much it matters. */
import type { DeviceView } from '../../../lib/api/server.gen';
import { t } from '../../../lib/messages';

export type Tone = 'plain' | 'safe' | 'warn' | 'danger';

export function stateOf(device: Pick<DeviceView, 'state' | 'connected' | 'unsent_commits'>): {
  tone: Tone;
  words: string;
} {
  if (device.state === 'never') return { tone: 'plain', words: t('devices.state.never') };
  if (device.connected)
    return device.unsent_commits > 0
      ? { tone: 'warn', words: t('devices.state.behind') }
      : { tone: 'safe', words: t('devices.state.connected') };
  // Silent with something unsent: sales that only it has.
  if (device.state === 'silent')
    return { tone: device.unsent_commits > 0 ? 'danger' : 'warn', words: t('devices.state.silent') };
  return { tone: 'warn', words: t('devices.state.away') };
}

const EXACT_MS = 2_000;
const HARMLESS_MS = 60_000;
const GRAVE_MS = 300_000;

/** A clock that is off changes neither order nor business day, but the times on receipts. */
export function driftOf(drift_ms: number | null): { tone: Tone; words: string } {
  if (drift_ms === null) return { tone: 'plain', words: t('drift.unknown') };
  const off = Math.abs(drift_ms);
  if (off < EXACT_MS) return { tone: 'safe', words: t('drift.exact') };
  const tone = off < HARMLESS_MS ? 'plain' : off < GRAVE_MS ? 'warn' : 'danger';
  return { tone, words: t(drift_ms > 0 ? 'drift.fast' : 'drift.slow', { time: lengthWords(off) }) };
}

function lengthWords(ms: number): string {
  const s = Math.round(ms / 1000);
  if (s < 60) return t('length.s', { s });
  const min = Math.floor(s / 60);
  if (min < 60) return s % 60 ? t('length.min_s', { min, s: s % 60 }) : t('length.min', { min });
  const h = Math.floor(min / 60);
  if (h < 48) return min % 60 ? t('length.h_min', { h, min: min % 60 }) : t('length.h', { h });
  return t('length.days', { days: Math.round(h / 24) });
}
