import type { ImportState } from '../../../lib/api/server.gen';

export const TONES = {
  reading: 'plain',
  ready: 'warn',
  refused: 'danger',
  applying: 'plain',
  applied: 'safe',
  undoing: 'plain',
  undone: 'plain',
  failed: 'danger',
} as const satisfies Record<ImportState, string>;

/** Whether it goes on by itself. */
export const isMoving = (state: ImportState) =>
  state === 'reading' || state === 'applying' || state === 'undoing';
