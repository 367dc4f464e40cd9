import { toUserId } from '../../../src/policy/principal.ts';
import type { StoreView } from '../../../src/store/store-view.ts';

export type UserView = Pick<StoreView, 'user' | 'userOfApiKey'>;

/** The two questions that identity asks, answered from plain records: user id to role, API key to user id. */
export function userView(
  users: Readonly<Record<string, string>>,
  keys: Readonly<Record<string, string>> = {},
): UserView {
  return {
    user: (id) => (Object.hasOwn(users, id) ? { kind: 'user', id, role: users[id] ?? '' } : undefined),
    userOfApiKey: (key) => (Object.hasOwn(keys, key) ? toUserId(keys[key] ?? '') : undefined),
  };
}
