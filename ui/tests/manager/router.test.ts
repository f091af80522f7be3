import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { address, Router, withQuery } from '../../src/lib/router.svelte';
import { csvUrl } from '../../src/lib/manager';
import { pageAt } from '../../src/jobs/manager/shell/pages';

describe('addresses', () => {
  const url = new URL('http://x/sales/S01/1?from=a&kind=sale');

  test('change in parts', () => {
    expect(withQuery(url, { kind: null, search: 'a&b=c' })).toBe('/sales/S01/1?from=a&search=a%26b%3Dc');
    expect(withQuery(url, {}, '/sales')).toBe('/sales?from=a&kind=sale');
    expect(withQuery(url, { from: null, kind: null })).toBe('/sales/S01/1');
  });

  test('leave out what is undefined and keep what is empty', () => {
    expect(address('/sales', { till: undefined, category: '' })).toBe('/sales?category=');
    expect(csvUrl('/reports/sales', { from: 'a' })).toBe('/api/v1/reports/sales?from=a&format=csv');
  });

  test.each([
    ['/', 'today', []],
    ['/today', 'today', []],
    ['/sales/S01/a%2Fb', 'sales', ['S01', 'a/b']],
    ['/settings/stores/S01/', 'settings', ['stores', 'S01']],
    ['/products/%E0%A4%A', 'products', ['%E0%A4%A']],
  ])('%s is %s %j', (path, page, rest) => expect(pageAt(path)).toEqual({ page, rest }));
  test('a page that is none is none', () => expect(pageAt('/nowhere')).toBeNull());
});

describe('the router', () => {
  let router: Router;
  let stop: () => void;
  beforeEach(() => {
    history.replaceState(null, '', '/reports?by=till');
    router = new Router();
    stop = router.start();
  });
  afterEach(() => {
    stop();
    document.body.innerHTML = '';
  });

  test('begins where the address is, and goes', () => {
    expect([router.path, router.query.get('by')]).toEqual(['/reports', 'till']);
    router.set({ by: 'hour' });
    expect(location.search).toBe('?by=hour');
    router.go('/sales?search=1');
    expect([router.path, location.pathname, location.search]).toEqual(['/sales', '/sales', '?search=1']);
  });

  test('filters that are typed do not fill the history', () => {
    const before = history.length;
    router.set({ search: 'a' }, true);
    router.set({ search: 'ab' }, true);
    expect(history.length).toBe(before);
    expect(location.search).toBe('?by=till&search=ab');
  });

  const click = (html: string, more: MouseEventInit = {}) => {
    document.body.innerHTML = html;
    const event = new MouseEvent('click', { bubbles: true, cancelable: true, ...more });
    document.querySelector('a')!.firstElementChild!.dispatchEvent(event);
    return event.defaultPrevented;
  };

  test('takes clicks on its own links', () => {
    expect(click('<a href="/stock?search=x"><b>Stock</b></a>')).toBe(true);
    expect(router.path).toBe('/stock');
  });

  test.each([
    ['<a href="/api/v1/sales?format=csv"><b>CSV</b></a>', {}],
    ['<a href="/x" download><b>File</b></a>', {}],
    ['<a href="/x" target="_blank"><b>Tab</b></a>', {}],
    ['<a href="https://elsewhere.example/"><b>Away</b></a>', {}],
    ['<a href="#page"><b>Skip</b></a>', {}],
    ['<a href="/x"><b>New tab</b></a>', { ctrlKey: true }],
  ])('leaves %s to the browser', (html, more) => {
    document.addEventListener('click', (event) => setTimeout(() => event.preventDefault()), { once: true });
    expect(click(html, more)).toBe(false);
    expect(router.path).toBe('/reports');
  });

  test('stays when something is not saved, and remembers where one wanted to go', () => {
    router.mayLeave = () => false;
    router.go('/stock');
    expect([router.path, router.blocked, location.pathname]).toEqual(['/reports', '/stock', '/reports']);
    router.go('/stock', { isSure: true });
    expect(router.path).toBe('/stock');
  });

  test('the back button is asked as well', () => {
    router.go('/stock');
    router.mayLeave = () => false;
    history.replaceState({ depth: 0 }, '', '/reports?by=till');
    dispatchEvent(new PopStateEvent('popstate'));
    expect([router.path, router.blocked]).toEqual(['/stock', '/reports?by=till']);
    router.mayLeave = () => true;
    dispatchEvent(new PopStateEvent('popstate'));
    expect(router.path).toBe('/reports');
  });
});
