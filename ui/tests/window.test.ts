import { mockIPC, clearMocks } from '@tauri-apps/api/mocks';
import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, expect, test } from 'vitest';
import type { Event as NodeEvent } from '../src/lib/api/node.gen';
import { BackendError } from '../src/lib/api/client';
import type { TillBackend } from '../src/lib/backend';
import { type Problem, type Shown, TauriHost, type WindowHost } from '../src/lib/window';
import WindowApp from '../src/views/WindowApp.svelte';
import { FakeNode, settled, tillView } from './fakes';

afterEach(() => {
  cleanup();
  clearMocks();
});

const FIRST_RUN: Shown = { stage: 'first_run', data: '/home/till/evertill' };
const SELLING: Shown = { stage: 'selling', till: 'Till 1' };
const IN_USE: Shown = { stage: 'stuck', data: '/d', code: 'in_use', message: '/d is in use' };

/** A program that shows what it is told to. */
class FakeHost implements WindowHost {
  asked: boolean[] = [];
  links: string[] = [];
  node = new FakeNode(tillView());
  onEnded = () => {};

  constructor(
    public shown: Shown,
    public enrolled: Shown | Problem = SELLING,
  ) {}

  async begin(again: boolean): Promise<Shown> {
    this.asked.push(again);
    return this.shown;
  }

  async enrol(link: string): Promise<Shown> {
    this.links.push(link);
    if ('stage' in this.enrolled) return this.enrolled;
    throw this.enrolled;
  }

  till(onEnded: () => void): TillBackend {
    this.onEnded = onEnded;
    return this.node;
  }
}

async function show(host: FakeHost): Promise<FakeHost> {
  render(WindowApp, { host });
  await settled();
  return host;
}

async function paste(text: string): Promise<void> {
  await fireEvent.input(screen.getByTestId('enrolment-link'), { target: { value: text } });
  await fireEvent.submit(screen.getByTestId('first-run'));
  await settled();
}

test('a machine that is no till asks for the link, and then sells', async () => {
  const host = await show(new FakeHost(FIRST_RUN));
  expect(screen.getByText(/\/home\/till\/evertill/)).toBeTruthy();
  expect((screen.getByTestId('enrol') as HTMLButtonElement).disabled).toBe(true);
  await paste('  evertill://host:1/CODE#00 \n');
  expect(host.links).toEqual(['evertill://host:1/CODE#00']);
  expect(screen.getByTestId('total')).toBeTruthy();
});

test('what is wrong with a link is said beside it, and it may be tried again', async () => {
  const host = await show(new FakeHost(FIRST_RUN, { code: 'denied', message: 'the code is used' }));
  await paste('evertill://host:1/CODE#00');
  expect(screen.getByRole('alert').textContent).toContain('the code is used');
  host.enrolled = SELLING;
  await paste('evertill://host:1/CODE#01');
  expect(screen.queryByRole('alert')).toBeNull();
  expect(host.links.length).toBe(2);
});

test('every problem has a sentence of its own', async () => {
  const codes: Problem['code'][] = [
    'bad_link',
    'unreachable',
    'denied',
    'broke_off',
    'in_use',
    'already_enrolled',
    'folder',
    'config',
    'database',
    'broken',
  ];
  const sentences = new Set<string>();
  for (const code of codes) {
    await show(new FakeHost({ stage: 'stuck', data: '/d', code, message: 'raw' }));
    sentences.add(screen.getByTestId('stuck').querySelector('p')!.textContent!);
    cleanup();
  }
  expect(sentences.size).toBe(codes.length);
  expect(sentences.has('raw')).toBe(false);
});

test('a folder that is in use is said, and tried again when asked', async () => {
  const host = await show(new FakeHost(IN_USE));
  expect(screen.getByRole('heading').textContent).toBe('This till is open already');
  host.shown = SELLING;
  await fireEvent.click(screen.getByTestId('try-again'));
  await settled();
  expect(host.asked).toEqual([false, true]);
  expect(screen.getByTestId('total')).toBeTruthy();
});

test('a till that ended by itself says so', async () => {
  const host = await show(new FakeHost(SELLING));
  host.shown = { stage: 'stuck', data: '/d', code: 'broken', message: 'the till stopped by itself' };
  host.onEnded();
  await settled();
  expect(screen.getByTestId('stuck').dataset['code']).toBe('broken');
});

test('commands, queries and refusals cross as they are', async () => {
  const calls: unknown[] = [];
  const error = { code: 'no_shift', message: 'Open a shift.', retry_after_ms: null };
  mockIPC((cmd, args) => {
    calls.push([cmd, args]);
    const { call } = args as { call: { command?: unknown } };
    if (call.command) throw error;
    return tillView();
  });
  const till = new TauriHost().till(() => {});
  expect((await till.query({ type: 'till' })).till.name).toBe('Till 3');
  const thrown = await till.command({ type: 'sign_out' }).catch((e: unknown) => e);
  expect((thrown as BackendError).failure).toEqual({ kind: 'refused', error });
  expect(calls).toEqual([
    ['rpc', { call: { query: { type: 'till' } } }],
    ['rpc', { call: { command: { type: 'sign_out' } } }],
  ]);
});

test('a picture crosses as bytes, and one that is not there as none', async () => {
  mockIPC((_cmd, args) => {
    const { id } = args as { id: string };
    if (id === 'broken') throw { code: 'storage', message: 'the disk is full', retry_after_ms: null };
    return (id === 'pic1' ? new Uint8Array([1, 2, 3]) : new Uint8Array()).buffer;
  });
  const till = new TauriHost().till(() => {});
  expect((await till.picture?.('pic1'))?.size).toBe(3);
  expect(await till.picture?.('pic2')).toBeNull();
  const thrown = await till.picture?.('broken').catch((e: unknown) => e);
  expect((thrown as BackendError).failure).toEqual({ kind: 'unreachable' });
});

test('an answer that is no refusal of the till is no answer', async () => {
  mockIPC(() => {
    throw 'rpc not allowed on window "other"';
  });
  const thrown = await new TauriHost()
    .till(() => {})
    .query({ type: 'till' })
    .catch((e: unknown) => e);
  expect((thrown as BackendError).failure).toEqual({ kind: 'unreachable' });
});

test('events arrive until the till ends or nobody listens', async () => {
  let say: (message: object) => void = () => {};
  mockIPC((cmd, args) => {
    if (cmd === 'subscribe')
      say = (args as { channel: { onmessage: (m: object) => void } }).channel.onmessage;
  });
  const [events, connections]: [NodeEvent[], boolean[]] = [[], []];
  let ended = 0;
  const till = new TauriHost().till(() => (ended += 1));
  const stop = till.subscribe(
    (event) => events.push(event),
    (connected) => connections.push(connected),
  );
  await settled();
  say({ type: 'till_changed' });
  say({ type: 'ended' });
  expect([events, connections, ended]).toEqual([[{ type: 'till_changed' }], [true, false], 1]);
  stop();
  say({ type: 'till_changed' });
  expect(events.length).toBe(1);
});
