/** What the screen says for each code of the till. docs/bad-input.md shows the same table to people. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { ApiErrorCode } from '../src/lib/api/node.gen';
import { errorText } from '../src/lib/till.svelte';

/** For codes with many causes the till's own sentence says which it is. */
const OWN = 'the till’s own sentence';

const SAID: Record<ApiErrorCode, string> = {
  bad_request: OWN,
  not_authorised: 'This page has lost its key. Open the address that the till printed.',
  not_signed_in: 'Sign in first.',
  wrong_pin: 'That PIN is not right. Try again.',
  pin_locked: 'Too many wrong PINs. Wait a little.',
  forbidden: 'Your role does not allow this. Ask a shift lead or a manager.',
  not_ready: 'The till has not received its store’s settings yet. Connect it once.',
  no_shift: 'Open a shift first.',
  shift_open: 'A shift is open already. Close it first.',
  unknown_code: 'No product has that code. Scan it again, or search by name.',
  inactive_product: 'This product is not on sale any more. Put it aside and ask a manager.',
  cart_empty: 'The cart is empty. Scan something first.',
  cart_not_empty: 'Something is in the cart. Settle it or empty it first.',
  cart_full: OWN,
  no_such_line: 'That line is not there any more. Look at the screen.',
  bad_quantity: OWN,
  bad_amount: OWN,
  tender_short: OWN,
  stale_order: OWN,
  no_such_order: 'This till does not know that order. Look it up again.',
  nothing_to_refund: OWN,
  no_such_print_job: 'That receipt needs no answer any more.',
  storage: 'The till’s disk is full or broken. Nothing was recorded: call for help.',
  not_kept: OWN,
  in_doubt: 'It is not known whether that was recorded. Look at the screen before going on.',
};

const said = (code: string, message: string) =>
  errorText({ code: code as ApiErrorCode, message, retry_after_ms: null });

test('every code has its sentence, and codes with many causes have the till’s', () => {
  const message = '0.01 GBP is missing: take more, or take something out of the cart';
  for (const [code, sentence] of Object.entries(SAID)) {
    expect(said(code, message), code).toBe(sentence === OWN ? `${message}.` : sentence);
  }
  expect(said('of_a_newer_till', 'the moon is full: wait')).toBe('The moon is full: wait.');
});

test('the page for people has the same table', () => {
  const page = readFileSync('../docs/bad-input.md', 'utf8');
  for (const [code, sentence] of Object.entries(SAID))
    expect(page).toContain(`| \`${code}\` | ${sentence} |`);
});
