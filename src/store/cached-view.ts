/**
 * The view of the database that requests ask: every answer cached by key.
 *
 * Memberships and grants are kept while the file says that they are the same; a user's role, API keys, presets and
 * mAI's switch for a whole organization are read again, by key, after every commit.
 */
import { createHash } from 'node:crypto';
import { isPolicyUnavailable } from '../errors.ts';
import { type OrganizationId, type UserId, type UserPrincipal, toOrganizationId } from '../identity/principal.ts';
import { type GrantSet, type ModelId, compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Connection } from './database.ts';
import type { Source } from './freshness.ts';
import { ROLES_NOT_ENROLLED } from './initialize.ts';
import {
  type Membership,
  type PointCall,
  type PointRead,
  type PointReads,
  prepareStatements,
  readPoint,
} from './queries.ts';
import { stemOf } from './models.ts';
import { type CacheOptions, type Staleness, RevalidatedCache } from './revalidated-cache.ts';
import { type Need, type StoreView, NotLoaded, keyOf } from './store-view.ts';

const MAX_USERS = 100_000;
const MAX_ORGANIZATIONS = 10_000;
/** All grants of all cached organizations together; about 100 bytes each. */
const MAX_GRANTS = 1_000_000;
const MAX_PRESETS = 10_000;
const MAX_API_KEYS = 20_000;
/** From so many reads between two commits on, the ids of all rows are read at once. */
const FEW_PRESETS = 16;

function createCaches(source: Source, options: Staleness) {
  const everyCommit = () => source.generation;
  const members = () => source.epochs.members;
  const models = () => source.epochs.models;
  const cache = <V>(more: Pick<CacheOptions<V>, 'read'> & Partial<CacheOptions<V>>) =>
    new RevalidatedCache<V>(source, { maxSize: 1, epoch: everyCommit, ...options, ...more });
  const read = <N extends PointRead>(name: N, key?: string) =>
    source.read(name, ...((key === undefined ? [] : [key]) as Parameters<PointReads[N]>));
  const intern = createInterner(models);
  // organizations grant much the same models: one copy of each id, however many of them grant it
  const compile = (organization: OrganizationId, patterns: readonly string[]) =>
    compileGrants(organization, patterns.map(intern));
  const presetIds = cache({ read: () => read('presetIds') });
  let presets = { epoch: 0, reads: 0 };
  /** A list of models asks for hundreds of presets at once, and most of them are provider models without a row. */
  const isAbsent = (id: string | undefined): boolean => {
    if (presets.epoch !== source.generation) presets = { epoch: source.generation, reads: 0 };
    return ++presets.reads > FEW_PRESETS && presetIds.get()?.has(id ?? '') === false;
  };
  return {
    users: cache({
      read: (id) => map(read('roleOf', id), (role) => toUser(id as UserId, role)),
      maxSize: MAX_USERS,
      keep: isDefined,
    }),
    // guessed keys must not push the real ones out
    api_keys: cache({ read: (key) => read('userOfApiKey', key), maxSize: MAX_API_KEYS, keep: isDefined }),
    memberships: cache({
      read: (user) => map(read('membershipsOf', user), (rows) => toBelonging(rows, intern)),
      maxSize: MAX_USERS,
      epoch: members,
    }),
    grants: cache({
      read: (id) => map(read('patternsOf', id), (patterns) => compile(id as OrganizationId, patterns)),
      maxSize: MAX_GRANTS,
      sizeOf: (set) => 1 + set.exact.size + set.prefixes.length,
      epoch: models,
    }),
    organizations: cache({ read: (id) => read('isActive', id), maxSize: MAX_ORGANIZATIONS }),
    presets: cache({
      read: (id) => (isAbsent(id) ? { value: undefined } : read('preset', id)),
      maxSize: MAX_PRESETS,
    }),
    everywhere: cache({
      read: () => map(read('allPatterns'), (patterns) => compile(toOrganizationId('every organization'), patterns)),
      epoch: models,
    }),
    composites: cache({ read: () => read('composites') }),
    prefixes: cache({ read: () => read('connectionPrefixes') }),
  };
}

const isDefined = (value: unknown): boolean => value !== undefined;

const map = <T, U>(read: { readonly value: T } | undefined, toValue: (value: T) => U) =>
  read === undefined ? undefined : { value: toValue(read.value) };

const toUser = (id: UserId, role: string | undefined): UserPrincipal | undefined =>
  role === undefined ? undefined : { kind: 'user', id, role };

/** Active organizations of one user, and whether there is a row, switched on or off, in whichever organization. */
const toBelonging = (rows: readonly Membership[], intern: <T extends string>(text: T) => T) => ({
  organizations: rows.flatMap(({ organization, active }) =>
    active && organization !== undefined ? [intern(organization)] : [],
  ),
  hasRow: rows.length > 0,
});

function createInterner(epoch: () => number) {
  const interned = new Map<string, string>();
  let since = 0;
  return <T extends string>(text: T): T => {
    if (epoch() !== since) interned.clear();
    since = epoch();
    const known = interned.get(text);
    if (known === undefined) interned.set(text, text);
    return (known ?? text) as T;
  };
}

/** The backend's own are 35 characters long (`sk-` and 32 hexadecimal digits). */
const MAX_API_KEY_LENGTH = 512;
const COUNTED = ['users', 'api_keys', 'memberships', 'grants', 'organizations', 'presets'] as const;

export class CachedView implements StoreView {
  readonly #caches: ReturnType<typeof createCaches>;

  constructor(source: Source, options: Staleness) {
    this.#caches = createCaches(source, options);
  }

  /** How often each cache was asked: answered from memory, or read from the file. */
  lookups() {
    return COUNTED.map((name) => ({ name, hits: this.#caches[name].hits, misses: this.#caches[name].misses }));
  }

  user(id: UserId) {
    return this.#caches.users.get(id);
  }

  userOfApiKey(key: string) {
    if (key.length > MAX_API_KEY_LENGTH) return undefined;
    // a key itself is kept nowhere: neither in the cache nor in a log
    return this.#caches.api_keys.get(key, createHash('sha256').update(key).digest('base64'));
  }

  grantsOf({ id }: UserPrincipal): readonly GrantSet[] {
    const { memberships, organizations, grants } = this.#caches;
    const active = memberships.get(id).organizations.filter((organization) => organizations.get(organization));
    return active.map((organization) => grants.get(organization));
  }

  /** @returns whether the user has a membership, switched on or off, in any organization; undefined while unknown */
  hasMembership(user: UserId): boolean | undefined {
    return lookUp(() => this.#caches.memberships.get(user))?.hasRow;
  }

  /** Has the memberships of a user read again: one was just written. */
  forgetMemberships(user: UserId): void {
    this.#caches.memberships.delete(user);
  }

  /** @returns what must be loaded next for this need; nothing where all is there, or cannot be read */
  missing({ user, models }: Need): readonly PointCall[] {
    const { memberships, organizations, grants } = this.#caches;
    const missing = new Map<string, PointCall>();
    const look = <T>(ask: () => T) => lookUp(ask, ({ call }) => missing.set(keyOf(call), call));
    const joined = user === undefined ? undefined : look(() => memberships.get(user.id));
    for (const organization of joined?.organizations ?? []) {
      look(() => organizations.get(organization));
      look(() => grants.get(organization));
    }
    for (const model of models?.() ?? []) {
      const base = look(() => this.preset(model))?.base;
      if (base !== undefined) look(() => this.preset(base));
      look(() => this.isComposite(model));
      look(() => this.connectionPrefixes());
    }
    return [...missing.values()];
  }

  preset(id: ModelId) {
    return this.#caches.presets.get(id);
  }

  hasModelRow(id: ModelId): boolean {
    return this.preset(id) !== undefined;
  }

  isComposite(id: ModelId): boolean {
    const composites = this.#caches.composites.get();
    return composites.has(id) || composites.has(stemOf(id));
  }

  connectionPrefixes(): readonly string[] {
    return this.#caches.prefixes.get();
  }

  isGrantedAnywhere(id: ModelId): boolean {
    return coveringGrant(this.#caches.everywhere.get(), id) !== undefined;
  }
}

/** @returns undefined where it is not loaded or cannot be read */
function lookUp<T>(ask: () => T, note?: (lacking: NotLoaded) => void): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof NotLoaded) note?.(error);
    else if (!isPolicyUnavailable(error)) throw error;
    return undefined;
  }
}

/**
 * The database as commands look at it: in the caller's transaction, with the very code that answers the gate's requests.
 * @param enrolling id of the organization that the gate enrols new users in; undefined where it enrols no user
 * @returns a view that is valid as long as the transaction lasts, and the users whom the gate would have enrolled by what
 *   the view was asked; nothing is written
 * @throws UnreadableSchema where tables are missing or have another shape
 */
export function inspect(connection: Connection, enrolling?: string) {
  const enrolled = new Set<string>();
  const stored = prepareStatements(connection);
  const reads: PointReads = {
    ...stored,
    membershipsOf: (user) => {
      const memberships = stored.membershipsOf(user);
      const role = enrolling === undefined || memberships.length > 0 ? undefined : stored.roleOf(user);
      if (enrolling === undefined || role === undefined || ROLES_NOT_ENROLLED.has(role)) return memberships;
      enrolled.add(user);
      return [{ organization: toOrganizationId(enrolling), active: true }];
    },
  };
  const source: Source = {
    ...{ generation: 1, epochs: { members: 1, models: 1 }, goodAt: 0, problem: undefined },
    read: (name, ...args) => ({ value: readPoint(reads, name, ...args) }),
  };
  return { view: new CachedView(source, { maxStaleMs: 0, now: () => 0 }), enrolled };
}
