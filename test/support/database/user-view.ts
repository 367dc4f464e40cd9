import { toUserId } from '../../../src/policy/principal.ts';
import type { StoreView } from '../../../src/store/store-view.ts';

export type UserView = Pick<StoreView, 'user' | 'isSessionOver' | 'userOfApiKey'>;

/** The questions that identity asks, answered from plain records: user id to role, API key to user id, user id to stamp. */
export function userView(
  users: Readonly<Record<string, string>>,
  keys: Readonly<Record<string, string>> = {},
  stamps: Readonly<Record<string, string>> = {},
): UserView {
  return {
    user: (id) => (Object.hasOwn(users, id) ? { kind: 'user', id, role: users[id] ?? '' } : undefined),
    isSessionOver: (id, stamp) => Object.hasOwn(stamps, id) && stamps[id] !== stamp,
    userOfApiKey: (key) => (Object.hasOwn(keys, key) ? toUserId(keys[key] ?? '') : undefined),
  };
}
