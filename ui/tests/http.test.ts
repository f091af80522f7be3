import { afterEach, expect, test, vi } from 'vitest';
import { BackendError } from '../src/lib/api/client';
import { HttpTillBackend } from '../src/lib/backend';
import { takeToken } from '../src/lib/face';
import { HttpManagerBackend, ManagerError } from '../src/lib/manager';

afterEach(() => vi.unstubAllGlobals());

const ORIGIN = 'http://127.0.0.1:8421';

function answering(status: number, body: unknown) {
  const calls: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal('fetch', async (url: URL, init: RequestInit) => {
    calls.push({ url: String(url), init });
    return new Response(JSON.stringify(body), { status });
  });
  return calls;
}

async function failure(call: Promise<unknown>) {
  const thrown = await call.catch((error: unknown) => error);
  return thrown instanceof BackendError ? thrown.failure : thrown;
}

test('a command goes to the node with the token', async () => {
  const calls = answering(200, { till: 'view' });
  await new HttpTillBackend(ORIGIN, 'secret').command({ type: 'sign_out' });
  expect(calls[0]!.url).toBe(`${ORIGIN}/api/command`);
  expect(calls[0]!.init.headers).toMatchObject({ authorization: 'Bearer secret' });
  expect(calls[0]!.init.body).toBe('{"type":"sign_out"}');
});

test('a refusal keeps its code; anything else is nobody', async () => {
  const error = { code: 'no_shift', message: 'Open a shift.', retry_after_ms: null };
  const node = new HttpTillBackend(ORIGIN, 'secret');
  answering(409, error);
  expect(await failure(node.query({ type: 'till' }))).toEqual({ kind: 'refused', error });
  answering(502, '<html>');
  expect(await failure(node.query({ type: 'till' }))).toEqual({ kind: 'unreachable' });
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('refused')));
  expect(await failure(node.query({ type: 'till' }))).toEqual({ kind: 'unreachable' });
});

class FakeSocket {
  static made: FakeSocket[] = [];
  onopen = () => {};
  onmessage = (_: { data: unknown }) => {};
  onclose = () => {};
  constructor(
    readonly url: URL,
    readonly protocols: string[],
  ) {
    FakeSocket.made.push(this);
  }
  close() {}
}

test('announcements are taken up again after the socket has closed', () => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  FakeSocket.made = [];
  const heard: unknown[] = [];
  const stop = new HttpTillBackend(ORIGIN, 'secret').subscribe(
    (event) => heard.push(event),
    (connected) => heard.push(connected),
  );
  const [first] = FakeSocket.made;
  expect(String(first!.url)).toBe('ws://127.0.0.1:8421/api/events');
  expect(first!.protocols).toEqual(['evertill', 'secret']);
  first!.onopen();
  first!.onmessage({ data: '{"type":"till_changed"}' });
  first!.onmessage({ data: 'nonsense' });
  first!.onclose();
  expect(heard).toEqual([true, { type: 'till_changed' }, false]);
  vi.advanceTimersByTime(250);
  expect(FakeSocket.made).toHaveLength(2);
  FakeSocket.made[1]!.onclose();
  vi.advanceTimersByTime(250);
  expect(FakeSocket.made).toHaveLength(2);
  vi.advanceTimersByTime(250);
  expect(FakeSocket.made).toHaveLength(3);
  stop();
  FakeSocket.made[2]!.onclose();
  vi.advanceTimersByTime(60_000);
  expect(FakeSocket.made).toHaveLength(3);
  vi.useRealTimers();
});

test('the token moves out of the address bar into this tab', () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (k: string) => kept.get(k) ?? null,
    setItem: (k: string, v: string) => kept.set(k, v),
  };
  const urls: unknown[] = [];
  const bar = { replaceState: (_: unknown, __: string, url: string) => urls.push(url) };
  const at = (hash: string) => ({ hash, pathname: '/', search: '' }) as Location;
  const take = (hash: string) => takeToken(at(hash), bar as never as History, storage as never as Storage);
  expect(take('')).toBeNull();
  expect(take('#token=abc')).toBe('abc');
  expect(urls).toEqual(['/']);
  expect(take('')).toBe('abc');
});

test('the manager is told from the status and code what went wrong', async () => {
  const server = new HttpManagerBackend(ORIGIN);
  answering(401, { code: 'not_signed_in', message: 'Sign in.' });
  expect(await server.session()).toBeNull();
  const calls = answering(503, { code: 'central_away', message: 'Away.' });
  const thrown = await server
    .report({ from: '2026-11-01', to: '2026-11-21', group_by: 'till' })
    .catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(ManagerError);
  expect((thrown as ManagerError).code).toBe('central_away');
  expect(calls[0]!.url).toBe(`${ORIGIN}/api/v1/reports/sales?from=2026-11-01&to=2026-11-21&group_by=till`);
});
