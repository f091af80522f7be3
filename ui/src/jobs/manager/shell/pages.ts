/** The pages of the back office and their addresses. */
import type { IconName } from '../../../lib/components/Icon.svelte';

export const PAGES = [
  'today',
  'reports',
  'sales',
  'products',
  'stock',
  'parked',
  'shifts',
  'devices',
  'exceptions',
  'imports',
  'settings',
] as const;
export type PageName = (typeof PAGES)[number];

/** The pages that a narrow screen has at its foot; the others are behind "More". */
export const FOOT: PageName[] = ['today', 'reports', 'sales', 'products'];

export const icon = (page: PageName): IconName => page;
export const pathOf = (page: PageName) => (page === 'today' ? '/' : `/${page}`);

/** The page at a path and what follows its name, taken apart; null when there is none. */
export function pageAt(path: string): { page: PageName; rest: string[] } | null {
  const [name = '', ...rest] = path.split('/').filter(Boolean).map(decoded);
  if (name === '') return { page: 'today', rest: [] };
  const page = PAGES.find((known) => known === name);
  return page ? { page, rest } : null;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
