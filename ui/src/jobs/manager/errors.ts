import { t, tOr } from '../../lib/messages';
import { ManagerError } from '../../lib/manager';

/** The sentence for a failed call. Anything that is not a ManagerError is a bug and is thrown on. */
export function webErrorText(thrown: unknown): string {
  if (!(thrown instanceof ManagerError)) throw thrown;
  return tOr(`web.${thrown.code}`, thrown.message || t('web.internal'), { message: thrown.message });
}

export const isSignedOut = (thrown: unknown) =>
  thrown instanceof ManagerError && thrown.code === 'not_signed_in';
