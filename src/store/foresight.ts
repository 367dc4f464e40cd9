/** What a question will ask, as far as what was known last tells, however old it is: the more of it, the fewer ways to a database. */
import type { ModelId } from '../policy/grant.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import type { Caches } from './caches.ts';
import type { PointCall } from './queries.ts';

/** What tells one read of the file from another. */
export const keyOf = ({ name, key }: PointCall): string => `${name} ${key}`;

/** What a decision will ask of the view: loaded together as soon as anything is lacking. */
export interface Need {
  /** Role, memberships and grants; a user without any membership is enrolled, where users are. */
  readonly user?: Pick<UserPrincipal, 'id'> | undefined;
  /** Whose it is. */
  readonly apiKey?: string | undefined;
  /** Presets of these names, and their bases. */
  readonly models?: (() => Iterable<ModelId>) | undefined;
}

/** @returns what certainly is asked */
export function callsFor({ user, apiKey, models }: Need): readonly PointCall[] {
  const ofUser: PointCall[] = user === undefined ? [] : [{ name: 'membershipsOf', key: user.id }];
  if (apiKey !== undefined) ofUser.push({ name: 'userOfApiKey', key: apiKey });
  if (models === undefined) return ofUser;
  const presets = Array.from(models(), (key): PointCall => ({ name: 'preset', key }));
  if (presets.length === 0) return ofUser;
  return [...ofUser, ...presets, { name: 'composites', key: '' }, { name: 'connectionPrefixes', key: '' }];
}

/** @param calls gets the call, and what will be asked when it is answered; one that is there may come again */
export function follow(caches: Caches, call: PointCall, calls: PointCall[]): void {
  const { name, key } = call;
  calls.push(call);
  if (name === 'userOfApiKey') {
    const owner = caches.userOfApiKey.peek(key);
    if (owner !== undefined) calls.push({ name: 'accountOf', key: owner });
  } else if (name === 'membershipsOf') {
    calls.push({ name: 'accountOf', key });
    for (const organization of caches.membershipsOf.peek(key) ?? []) {
      calls.push({ name: 'isActive', key: organization }, { name: 'patternsOf', key: organization });
    }
  } else if (name === 'preset') {
    const base = caches.preset.peek(key)?.base;
    // no further: a base that is a preset itself is rare
    if (base !== undefined) calls.push({ name, key: base });
  }
}
