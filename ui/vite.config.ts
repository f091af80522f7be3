import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a node or a sync server: the address that it printed, without the fragment. */
const behind = process.env['EVERTILL_URL'] ?? 'http://127.0.0.1:8421';

export default defineConfig({
  plugins: [svelte()],
  // Inside vitest Svelte must resolve to its browser half, or components cannot mount.
  resolve: process.env['VITEST'] ? { conditions: ['browser'] } : {},
  build: {
    target: ['chrome120', 'safari17.5', 'firefox128'],
    // A till fetches everything from its own disk: nothing is worth inlining, and the CSP allows no data: scripts.
    assetsInlineLimit: 0,
    reportCompressedSize: true,
  },
  server: {
    proxy: { '/api': { target: behind, changeOrigin: true, ws: true, headers: { origin: behind } } },
  },
  // A machine that does everything at once is slow; a test that takes longer than this is stuck.
  test: { environment: 'happy-dom', include: ['tests/**/*.test.ts'], testTimeout: 60_000 },
});
