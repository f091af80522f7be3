/** The manager's face with all that it needs; loaded only where it is shown, so that a till does not carry it. */
import '../lib/messages/manager';
import { openFeed } from '../lib/live';
import { HttpManagerBackend } from '../lib/manager';
import type { OfficeSurroundings } from '../jobs/manager/shared/office.svelte';

export { default as ManagerApp } from './ManagerApp.svelte';

export const backendAt = (origin: string) => new HttpManagerBackend(origin);

export const aroundAt = (origin: string): OfficeSurroundings => ({
  open: () => openFeed(origin),
  random: () => Math.random(),
  now: () => Date.now(),
});
