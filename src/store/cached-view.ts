/** The view that requests ask: memberships and grants are kept while the file says so, all else until the next commit. */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import { type UserId, type UserPrincipal, toOrganizationId, toUserId } from '../identity/principal.ts';
import { type GrantSet, type ModelId, compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Connection } from './database.ts';
import type { Source } from './freshness.ts';
import { ROLES_NOT_ENROLLED } from './initialize.ts';
import { stemOf } from './models.ts';
import { type PointRead, type PointReads, prepareStatements, readPoint } from './queries.ts';
import { type Need, type StoreView, NotLoaded, keyOf } from './store-view.ts';

interface CacheOptions<V> {
  /** @returns what the file says, or undefined where it cannot be read now */
  readonly read: (key?: string) => { readonly value: V } | undefined;
  /** Most entries, or most of what `sizeOf` counts. */
  readonly maxSize?: number;
  readonly sizeOf?: (value: V) => number;
  /** An entry of another epoch is read again; where it cannot be, it serves for as long as stale answers are allowed. */
  readonly epoch?: () => number;
  /** Whether an answer is worth a place in the cache. */
  readonly keep?: (value: V) => boolean;
}

interface Staleness {
  readonly maxStaleMs: number;
  readonly now: () => number;
}

function createCache<V>(source: Source, { maxStaleMs, now }: Staleness, options: CacheOptions<V>) {
  const { read, maxSize = 1, sizeOf = () => 1, epoch = () => source.generation, keep = () => true } = options;
  const counts = { hits: 0, misses: 0 };
  // not `max`: it would take the memory of a full cache at once, and 60 ms of the start
  const entries = new LRUCache<string, { readonly value: V; readonly epoch: number; confirmedAt: number }>({
    maxSize,
    sizeCalculation: ({ value }) => sizeOf(value),
  });

  /** @param kept the key's place in the cache @throws NotLoaded @throws GatewayError `policy_unavailable` */
  function get(key?: string, kept = key ?? ''): V {
    const current = epoch();
    const known = entries.get(kept);
    if (known?.epoch === current) {
      counts.hits += 1;
      known.confirmedAt = source.goodAt;
      return known.value;
    }
    const found = read(key);
    counts.misses += 1;
    if (found !== undefined) {
      if (keep(found.value)) entries.set(kept, { value: found.value, epoch: current, confirmedAt: source.goodAt });
      else entries.delete(kept);
      return found.value;
    }
    if (known !== undefined && now() - known.confirmedAt <= maxStaleMs) return known.value;
    throw new GatewayError('policy_unavailable', { cause: source.problem });
  }

  return { counts, get, delete: (key: string) => entries.delete(key) };
}

/** From so many reads between two commits on, the ids of all rows are read at once. */
const FEW_PRESETS = 16;

function createCaches(source: Source, options: Staleness) {
  const [members, models] = [() => source.epochs.members, () => source.epochs.models];
  const intern = createInterner(models);
  const cache = <N extends PointRead, V>(
    name: N,
    toValue: (found: ReturnType<PointReads[N]>, key: string) => V,
    of: Omit<CacheOptions<V>, 'read'> = {},
  ) => {
    const read = (key?: string) => {
      const found = source.read(name, ...((key === undefined ? [] : [key]) as Parameters<PointReads[N]>));
      return found === undefined ? undefined : { value: toValue(found.value, key ?? '') };
    };
    return createCache(source, options, { read, ...of });
  };
  // organizations grant much the same models: one copy of each id, however many of them grant it
  const compile = (patterns: readonly string[], organization: string) =>
    compileGrants(toOrganizationId(organization), patterns.map(intern));
  const ids = cache('presetIds', same);
  let presets = { epoch: 0, reads: 0 };
  // a list of models asks for hundreds of presets at once, and most of them are provider models without a row
  const isAbsent = (id: string): boolean => {
    if (presets.epoch !== source.generation) presets = { epoch: source.generation, reads: 0 };
    return ++presets.reads > FEW_PRESETS && ids.get()?.has(id) === false;
  };
  return {
    users: cache('roleOf', toUser, { maxSize: 100_000, keep: isDefined }),
    // guessed keys must not push the real ones out
    api_keys: cache('userOfApiKey', same, { maxSize: 20_000, keep: isDefined }),
    memberships: cache('membershipsOf', (rows) => toJoined(rows, intern), { maxSize: 100_000, epoch: members }),
    grants: cache('patternsOf', compile, {
      // of all cached organizations together, about 100 bytes each
      maxSize: 1_000_000,
      sizeOf: (set) => 1 + set.exact.size + set.prefixes.length,
      epoch: models,
    }),
    organizations: cache('isActive', same, { maxSize: 10_000 }),
    presets: createCache(source, options, {
      read: (id = '') => (isAbsent(id) ? { value: undefined } : source.read('preset', id as ModelId)),
      maxSize: 10_000,
    }),
    everywhere: cache('allPatterns', (patterns) => compile(patterns, 'every organization'), { epoch: models }),
    composites: cache('composites', same),
    prefixes: cache('connectionPrefixes', same),
  };
}

const same = <T>(value: T): T => value;
const isDefined = (value: unknown): boolean => value !== undefined;
const toUser = (role: string | undefined, id: string): UserPrincipal | undefined =>
  role === undefined ? undefined : { kind: 'user', id: toUserId(id), role };

/** @returns active organizations, and whether there is a row, switched on or off, in whichever organization */
const toJoined = (rows: ReturnType<PointReads['membershipsOf']>, intern: <T extends string>(text: T) => T) => ({
  organizations: rows.flatMap(({ organization: id, active }) => (active && id !== undefined ? [intern(id)] : [])),
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

export class CachedView implements StoreView {
  readonly #caches: ReturnType<typeof createCaches>;

  constructor(source: Source, options: Staleness) {
    this.#caches = createCaches(source, options);
  }

  lookups() {
    const names = ['users', 'api_keys', 'memberships', 'grants', 'organizations', 'presets'] as const;
    return names.map((name) => ({ name, ...this.#caches[name].counts }));
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

  /** Switched on or off, in any organization; undefined while unknown. */
  hasMembership(user: UserId): boolean | undefined {
    return lookUp(() => this.#caches.memberships.get(user))?.hasRow;
  }

  forgetMemberships(user: UserId): void {
    this.#caches.memberships.delete(user);
  }

  /** What must be loaded next for this need; nothing where all is there, or cannot be read. */
  missing({ user, models }: Need) {
    const { memberships, organizations, grants } = this.#caches;
    const missing = new Map<string, NotLoaded['call']>();
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

  hasModelRow(id: ModelId) {
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
 * The gate's view for commands, in the caller's transaction. @param enrolling the organization that new users are enrolled in
 * @returns `enrolled` too: users whom the gate would have enrolled by what the view was asked; nothing is written
 * @throws UnreadableSchema where tables are missing or have another shape
 */
export function inspect(connection: Connection, enrolling?: string) {
  const enrolled = new Set<string>();
  const stored = prepareStatements(connection);
  const reads: PointReads = {
    ...stored,
    membershipsOf: (user) => {
      const [rows, role = 'pending'] = [stored.membershipsOf(user), stored.roleOf(user)];
      if (enrolling === undefined || rows.length > 0 || ROLES_NOT_ENROLLED.has(role)) return rows;
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
