import { expect, test } from 'vitest';
import { theme } from '../src/lib/theme.svelte';

test('paper is light for as long as it is printed, and what was chosen stays', () => {
  const shown = () => document.documentElement.dataset['theme'];
  theme.start();
  theme.next();
  theme.next();
  expect([theme.current, shown()]).toEqual(['dark', 'dark']);
  const painted = theme.painted;
  dispatchEvent(new Event('beforeprint'));
  expect([theme.current, shown(), theme.isOnPaper]).toEqual(['dark', 'light', true]);
  expect(theme.painted).toBeGreaterThan(painted);
  dispatchEvent(new Event('afterprint'));
  expect([shown(), theme.isOnPaper]).toEqual(['dark', false]);
  expect(localStorage.getItem('evertill.theme')).toBe('dark');
  theme.next();
  expect([theme.current, shown()]).toEqual(['system', undefined]);
});
