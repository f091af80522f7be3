import { cleanup, render, screen } from '@testing-library/svelte';
import { afterEach, expect, test } from 'vitest';
import type { Coverage, SalesReport, SalesRow } from '../src/lib/api/server.gen';
import { barsOf } from '../src/jobs/manager/chart-data';
import CoverageLine from '../src/jobs/manager/CoverageLine.svelte';
import { periodOf, presetOf } from '../src/jobs/manager/periods';
import { Report } from '../src/jobs/manager/report.svelte';
import SalesTable from '../src/jobs/manager/SalesTable.svelte';
import { type ManagerBackend, ManagerError } from '../src/lib/manager';

afterEach(cleanup);

const TODAY = new Date(2026, 10, 21);

const coverage: Coverage = {
  asked_at_ms: Date.UTC(2026, 10, 21, 14, 32),
  complete: false,
  sentence: 'Covers 1 of 2 tills to 14:32 UTC; Till 2 silent for 47 min.',
  tills: [
    {
      device: 'd1',
      name: 'Till 1',
      store: 'S01',
      state: 'current',
      covers_to_ms: 1,
      seen_at_ms: 2,
      missing_commits: 0,
    },
    {
      device: 'd2',
      name: 'Till 2',
      store: 'S01',
      state: 'silent',
      covers_to_ms: null,
      seen_at_ms: null,
      missing_commits: 12,
    },
  ],
};

function row(key: string, sales: number, netMinor: number): SalesRow {
  return {
    key,
    label: key,
    sales,
    sales_minor: netMinor,
    refunds: 0,
    refunds_minor: 0,
    net_minor: netMinor,
    tax_minor: 0,
  };
}

function report(rows: SalesRow[], more: Partial<SalesReport> = {}): SalesReport {
  const total = row(
    'total',
    rows.length,
    rows.reduce((sum, r) => sum + r.net_minor, 0),
  );
  const asked = { from: '2026-11-15', to: '2026-11-21', group_by: 'day' as const };
  return { ...asked, currency: 'GBP', exponent: 2, rows, total, coverage, ...more };
}

test('the coverage line says what is missing, till by till', () => {
  render(CoverageLine, { coverage });
  expect(screen.getByTestId('coverage').textContent).toContain('Incomplete');
  expect(screen.getByTestId('coverage-sentence').textContent).toBe(coverage.sentence);
  const rows = screen.getByTestId('coverage-tills').querySelectorAll('tbody tr');
  expect(rows).toHaveLength(2);
  expect(rows[0]!.textContent).toContain('nothing');
  expect(rows[1]!.textContent).toContain('Silent');
  expect(rows[1]!.textContent).toContain('12 commits');
  expect(rows[1]!.textContent).toContain('never');
});

test('complete figures say so', () => {
  render(CoverageLine, { coverage: { ...coverage, complete: true } });
  expect(screen.getByTestId('coverage').dataset['complete']).toBe('true');
  expect(screen.getByTestId('coverage').textContent).toContain('Complete');
});

test('the table under the chart has the same figures and the total', () => {
  render(SalesTable, { report: report([row('2026-11-20', 3, 1_000), row('2026-11-21', 2, 234)]) });
  expect(screen.getAllByTestId('report-row')).toHaveLength(2);
  expect(screen.getByTestId('report-table').querySelector('tfoot')!.textContent).toContain('£12.34');
});

test('a long report leaves out quiet days and says how many', () => {
  const rows = Array.from({ length: 40 }, (_, i) => row(`day-${i}`, i === 7 ? 1 : 0, i === 7 ? 500 : 0));
  render(SalesTable, { report: report(rows) });
  expect(screen.getAllByTestId('report-row')).toHaveLength(1);
  expect(screen.getByText('39 days without business are left out.')).toBeTruthy();
});

test('many days are drawn by month, and nothing is lost in the sum', () => {
  const rows = Array.from({ length: 120 }, (_, i) => {
    const day = new Date(Date.UTC(2026, 0, 1 + i)).toISOString().slice(0, 10);
    return row(day, 1, 101 + i);
  });
  const bars = barsOf(report(rows));
  expect(bars.unit).toBe('month');
  expect(bars.labels).toEqual(['2026-01', '2026-02', '2026-03', '2026-04']);
  expect(bars.values.reduce((a, b) => a + b)).toBe(rows.reduce((sum, r) => sum + r.net_minor, 0));
});

test.each([
  ['today', '2026-11-21'],
  ['week', '2026-11-15'],
  ['month', '2026-10-23'],
  ['year', '2025-11-22'],
  ['decade', '2016-11-22'],
] as const)('%s begins on %s', (preset, from) => {
  expect(periodOf(preset, TODAY)).toEqual({ from, to: '2026-11-21' });
  expect(presetOf({ from, to: '2026-11-21' }, TODAY)).toBe(preset);
});

/** A server whose answers come when the test gives them. */
function slowServer() {
  const asked: { from: string; done: (report: SalesReport) => void; failed: (error: unknown) => void }[] = [];
  const backend = {
    sales: (from: string) => new Promise<SalesReport>((done, failed) => asked.push({ from, done, failed })),
  } as unknown as ManagerBackend;
  return { asked, backend };
}

test('only the answer to the newest question is shown', async () => {
  const { asked, backend } = slowServer();
  const shown = new Report(backend, () => {}, TODAY);
  const first = shown.ask();
  shown.choosePreset('today', TODAY);
  asked[1]!.done(report([row('new', 1, 5)], { from: '2026-11-21' }));
  asked[0]!.done(report([row('old', 1, 9)]));
  await first;
  expect(shown.figures?.rows[0]?.key).toBe('new');
  expect(shown.isCurrent).toBe(true);
});

test('figures that say the same stay the same object, and their coverage moves on', async () => {
  const { asked, backend } = slowServer();
  const shown = new Report(backend, () => {}, TODAY);
  const first = shown.ask();
  asked[0]!.done(report([row('2026-11-21', 1, 5)]));
  await first;
  const before = shown.figures;
  const second = shown.ask();
  asked[1]!.done(report([row('2026-11-21', 1, 5)], { coverage: { ...coverage, complete: true } }));
  await second;
  expect(shown.figures).toBe(before);
  expect(shown.coverage?.complete).toBe(true);
});

test('a server that is away leaves the last figures and says why', async () => {
  const { asked, backend } = slowServer();
  const shown = new Report(backend, () => {}, TODAY);
  const first = shown.ask();
  asked[0]!.done(report([row('2026-11-21', 1, 5)]));
  await first;
  const second = shown.ask();
  asked[1]!.failed(new ManagerError('central_away', ''));
  await second;
  expect(shown.figures?.rows).toHaveLength(1);
  expect(shown.problem).toBe('The central database does not answer. Trying again…');
});

test('a session that has ended leads back to signing in', async () => {
  const { asked, backend } = slowServer();
  let signedOut = false;
  const shown = new Report(backend, () => (signedOut = true), TODAY);
  const first = shown.ask();
  asked[0]!.failed(new ManagerError('not_signed_in', ''));
  await first;
  expect(signedOut).toBe(true);
});
