import { t, tOr } from '../../../lib/messages';
import { ManagerError } from '../../../lib/manager';

/** The server's own sentence says more than ours for these. */
const SAYS_WHY = new Set(['bad_request', 'conflict', 'too_large', 'not_found', 'try_later']);

/** The sentence for a failed call. Anything that is not a ManagerError is a bug and is thrown on. */
export function webErrorText(thrown: unknown): string {
  if (!(thrown instanceof ManagerError)) throw thrown;
  if (thrown.message && SAYS_WHY.has(thrown.code)) return thrown.message;
  return tOr(`web.${thrown.code}`, thrown.message || t('web.internal'));
}

export const isSignedOut = (thrown: unknown) =>
  thrown instanceof ManagerError && thrown.code === 'not_signed_in';

/** Whether asking again later may help. */
export const isPassing = (thrown: unknown) =>
  thrown instanceof ManagerError &&
  ['unreachable', 'central_away', 'internal', 'try_later'].includes(thrown.code);
