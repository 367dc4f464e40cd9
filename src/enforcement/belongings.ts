/** Which organizations give a user anything, for whoever has to explain or count a decision. */
import { GatewayError } from '../errors.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import type { Store } from '../store/store-view.ts';

const NONE: readonly string[] = [];

/** @returns a function that answers from the caches of the decision itself, and with none while they cannot be read */
export function createBelongings(store: Pick<Store, 'current'>): (user: UserPrincipal) => readonly string[] {
  return (user) => {
    try {
      return store
        .current()
        .grantsOf(user)
        .map(({ organization }) => organization);
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'policy_unavailable') return NONE;
      throw error;
    }
  };
}
