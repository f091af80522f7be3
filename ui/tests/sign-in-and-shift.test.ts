import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, expect, test } from 'vitest';
import type { TillView } from '../src/lib/api/node.gen';
import { SignInJob } from '../src/jobs/signin/sign-in-job.svelte';
import { Till } from '../src/lib/till.svelte';
import TillApp from '../src/views/TillApp.svelte';
import { Clock, FakeNode, closedShift, refusal, settled, tillView } from './fakes';

afterEach(cleanup);

async function show(view: TillView, prepare: (node: FakeNode) => void = () => {}): Promise<FakeNode> {
  const node = new FakeNode(view);
  prepare(node);
  render(TillApp, { till: new Till(node, { beep: () => {}, pause: new Clock().pause }) });
  await settled();
  return node;
}

test('a name, digits and Enter sign in', async () => {
  const node = await show(tillView([], { signed_in: null, shift: null }));
  await fireEvent.click(screen.getByTestId('staff-tile'));
  for (const key of '1234') await fireEvent.keyDown(document.body, { key });
  await fireEvent.keyDown(document.body, { key: 'Enter' });
  expect(node.commands).toEqual([{ type: 'sign_in', staff: 'staff-1', pin: '1234' }]);
});

test('a PIN of three digits is not sent', async () => {
  const node = await show(tillView([], { signed_in: null }));
  await fireEvent.click(screen.getByTestId('staff-tile'));
  for (const key of '123') await fireEvent.click(screen.getByTestId(`key-${key}`));
  expect((screen.getByTestId('sign-in') as HTMLButtonElement).disabled).toBe(true);
  await fireEvent.keyDown(document.body, { key: 'Enter' });
  expect(node.commands).toEqual([]);
});

test('after too many wrong PINs the seconds are counted down, then it may be tried again', async () => {
  const node = new FakeNode(tillView([], { signed_in: null }));
  node.reply = () => refusal('pin_locked', { retry_after_ms: 1_500 });
  const clock = new Clock();
  const job = new SignInJob(new Till(node, { beep: () => {}, pause: clock.pause }), clock.pause);
  job.choose(node.view.staff[0]!);
  for (const key of '1234') job.press(key);
  await job.submit();
  expect(job.waitS).toBe(2);
  job.press('1');
  expect(job.pin).toBe('');
  await clock.tick();
  await clock.tick();
  expect(job.waitS).toBe(0);
  for (const key of '1234') job.press(key);
  expect(job.primary.isEnabled).toBe(true);
});

test('a shift is opened with the float that was counted', async () => {
  const node = await show(tillView([], { shift: null }));
  await fireEvent.input(screen.getByTestId('float'), { target: { value: '150.00' } });
  await fireEvent.click(screen.getByTestId('open-shift'));
  expect(node.commands).toEqual([{ type: 'open_shift', float_minor: 15_000, business_day: null }]);
});

test('the drawer is counted before what was expected is shown', async () => {
  const node = await show(tillView());
  await fireEvent.click(screen.getByTestId('go-close-shift'));
  expect(screen.queryByText('Expected')).toBeNull();
  const shift = { ...node.view.shift!, expected_minor: 10_300 };
  node.reply = (_, view) => ({
    ...view,
    shift: null,
    last_closed_shift: closedShift(shift, { counted_minor: 10_000, difference_minor: -300 }),
  });
  await fireEvent.input(screen.getByTestId('counted-field'), { target: { value: '100' } });
  await fireEvent.click(screen.getByTestId('close-shift'));
  await settled();
  expect(node.commands).toEqual([{ type: 'close_shift', counted_minor: 10_000 }]);
  expect(screen.getByTestId('expected').textContent).toBe('£103.00');
  expect(screen.getByTestId('difference').textContent?.trim()).toBe('-£3.00');
});

test('what came to a closed shift afterwards is an addendum, with paper of its own', async () => {
  const addendum = {
    number: 1,
    first_receipt: 'S01-T01a-000007',
    last_receipt: 'S01-T01a-000009',
    sales: 2,
    refunds: 1,
    sales_minor: 4_000,
    refunds_minor: 500,
    cash_minor: 3_500,
  };
  const shift = tillView().shift!;
  const last = closedShift(shift, { addenda: [addendum], difference_with_addenda_minor: -3_500 });
  const other = closedShift({ ...shift, id: 'shift-0' }, { till: 'Till 2', title: 'Z S01-T02a' });
  const node = await show(tillView([], { shift: null, last_closed_shift: last }), (fake) => {
    fake.shifts = [last, other];
  });
  expect(screen.getByTestId('addendum').textContent).toMatch(
    /Addendum 1.*£35.00.*2 sales,.*1 refund:.*S01-T01a-000007 – S01-T01a-000009/s,
  );
  expect(screen.getByTestId('difference-now').textContent).toBe('-£35.00');
  const earlier = screen.getAllByTestId('earlier-shift');
  expect(earlier.map((one) => one.querySelector('summary')!.textContent)).toEqual([
    expect.stringMatching(/Till 2.*Z S01-T02a/s),
  ]);
  await fireEvent.click(screen.getAllByTestId('print-z')[0]!);
  await fireEvent.click(screen.getByTestId('print-addendum'));
  expect(node.commands).toEqual([
    { type: 'print_shift', shift: shift.id, addendum: null },
    { type: 'print_shift', shift: shift.id, addendum: 1 },
  ]);
});
