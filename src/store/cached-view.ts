/**
 * The view of the database that requests ask: every answer cached by key.
 *
 * Memberships and grants are kept while the file says that they are the same; a user's role, API keys, presets and
 * mAI's switch for a whole organization are read again, by key, after every commit.
 */
import { createHash } from 'node:crypto';
import { isPolicyUnavailable } from '../errors.ts';
import { type OrganizationId, type UserId, type UserPrincipal, toOrganizationId } from '../identity/principal.ts';
import type { Preset } from '../policy/decide.ts';
import { type GrantSet, type ModelId, compileGrants, coveringGrant } from '../policy/grant.ts';
import { stemOf, type Membership } from './queries.ts';
import type { Source } from './freshness.ts';
import { RevalidatedCache } from './revalidated-cache.ts';
import type { PointCall } from './reader.ts';
import { type Need, type StoreFigures, type StoreView, NotLoaded, keyOf } from './store-view.ts';

const MAX_USERS = 100_000;
const MAX_ORGANIZATIONS = 10_000;
/** All grants of all cached organizations together; about 100 bytes each. */
const MAX_GRANTS = 1_000_000;
const MAX_PRESETS = 10_000;
const MAX_API_KEYS = 20_000;
/** From so many reads between two commits on, the ids of all rows are read at once. */
const FEW_PRESETS = 16;

interface ViewOptions {
  readonly maxStaleMs: number;
  readonly now: () => number;
}

/** Memberships of one user, as kept. */
interface Belonging {
  readonly organizations: readonly OrganizationId[];
  /** There is a row, switched on or off, in whichever organization. */
  readonly hasRow: boolean;
}

export class CachedView implements StoreView {
  readonly #freshness: Source;
  readonly #users: RevalidatedCache<UserId, UserPrincipal | undefined>;
  readonly #apiKeys: RevalidatedCache<string, UserId | undefined>;
  readonly #presets: RevalidatedCache<ModelId, Preset | undefined>;
  readonly #presetIds: RevalidatedCache<'ids', ReadonlySet<string> | undefined>;
  #presetReads = { epoch: 0, count: 0 };
  readonly #switches: RevalidatedCache<OrganizationId, boolean>;
  readonly #belongings: RevalidatedCache<UserId, Belonging>;
  readonly #grants: RevalidatedCache<OrganizationId, GrantSet>;
  readonly #everywhere: RevalidatedCache<'everywhere', GrantSet>;
  readonly #composites: RevalidatedCache<'composites', ReadonlySet<string>>;
  readonly #prefixes: RevalidatedCache<'prefixes', readonly string[]>;
  readonly #interned = new Map<string, string>();
  #internedIn = 0;

  constructor(freshness: Source, { maxStaleMs, now }: ViewOptions) {
    this.#freshness = freshness;
    const cache = <K extends string, V>(maxSize: number, epoch: () => number, sizeOf?: (value: V) => number) =>
      new RevalidatedCache<K, V>({ freshness, maxSize, sizeOf, maxStaleMs, now, epoch });
    const everyCommit = () => freshness.generation;
    this.#users = cache(MAX_USERS, everyCommit);
    this.#apiKeys = cache(MAX_API_KEYS, everyCommit);
    this.#presets = cache(MAX_PRESETS, everyCommit);
    this.#presetIds = cache(1, everyCommit);
    this.#switches = cache(MAX_ORGANIZATIONS, everyCommit);
    this.#composites = cache(1, everyCommit);
    this.#prefixes = cache(1, everyCommit);
    this.#belongings = cache(MAX_USERS, () => freshness.epochs.members);
    this.#grants = cache(
      MAX_GRANTS,
      () => freshness.epochs.models,
      (set) => 1 + set.exact.size + set.prefixes.length,
    );
    this.#everywhere = cache(1, () => freshness.epochs.models);
  }

  /** How often each cache was asked. */
  lookups(): StoreFigures['caches'] {
    const caches = {
      users: this.#users,
      api_keys: this.#apiKeys,
      memberships: this.#belongings,
      grants: this.#grants,
      organizations: this.#switches,
      presets: this.#presets,
    };
    return Object.entries(caches).map(([name, { hits, misses }]) => ({ name, hits, misses }));
  }

  user(id: UserId): UserPrincipal | undefined {
    return this.#users.get(
      id,
      () =>
        map(this.#freshness.read('roleOf', id), (role) =>
          role === undefined ? undefined : { kind: 'user', id, role },
        ),
      (user) => user !== undefined,
    );
  }

  userOfApiKey(key: string): UserId | undefined {
    if (key.length > MAX_API_KEY_LENGTH) return undefined;
    return this.#apiKeys.get(
      digestOf(key),
      () => this.#freshness.read('userOfApiKey', key),
      // guessed keys must not push the real ones out
      (owner) => owner !== undefined,
    );
  }

  grantsOf(user: UserPrincipal): readonly GrantSet[] {
    return this.#belongingOf(user.id)
      .organizations.filter((organization) => this.#isActive(organization))
      .map((organization) => this.#grantsIn(organization));
  }

  /** @returns whether the user has a membership, switched on or off, in any organization; undefined while unknown */
  hasMembership(user: UserId): boolean | undefined {
    return lookUp(() => this.#belongingOf(user))?.hasRow;
  }

  /** Has the memberships of a user read again: one was just written. */
  forgetMemberships(user: UserId): void {
    this.#belongings.delete(user);
  }

  /** @returns what must be loaded next for this need; nothing where all is there, or cannot be read */
  missing({ user, models }: Need): readonly PointCall[] {
    const missing = new Map<string, PointCall>();
    const note = ({ call }: NotLoaded) => missing.set(keyOf(call), call);
    if (user !== undefined) {
      for (const organization of lookUp(() => this.#belongingOf(user.id), note)?.organizations ?? []) {
        lookUp(() => this.#isActive(organization), note);
        lookUp(() => this.#grantsIn(organization), note);
      }
    }
    for (const model of models?.() ?? []) {
      const base = lookUp(() => this.preset(model), note)?.base;
      if (base !== undefined) lookUp(() => this.preset(base), note);
      lookUp(() => this.isComposite(model), note);
      lookUp(() => this.connectionPrefixes(), note);
    }
    return [...missing.values()];
  }

  preset(id: ModelId): Preset | undefined {
    return this.#presets.get(id, () => {
      // a list of models asks for hundreds at once, and most of them are provider models without a row
      if (this.#presetReads.epoch !== this.#freshness.generation) {
        this.#presetReads = { epoch: this.#freshness.generation, count: 0 };
      }
      const isList = ++this.#presetReads.count > FEW_PRESETS;
      const isAbsent = isList && this.#presetIds.get('ids', () => this.#freshness.read('presetIds'))?.has(id) === false;
      return isAbsent ? { value: undefined } : this.#freshness.read('preset', id);
    });
  }

  hasModelRow(id: ModelId): boolean {
    return this.preset(id) !== undefined;
  }

  isComposite(id: ModelId): boolean {
    const composites = this.#composites.get('composites', () => this.#freshness.read('composites'));
    return composites.has(id) || composites.has(stemOf(id));
  }

  connectionPrefixes(): readonly string[] {
    return this.#prefixes.get('prefixes', () => this.#freshness.read('connectionPrefixes'));
  }

  isGrantedAnywhere(id: ModelId): boolean {
    const read = () => map(this.#freshness.read('allPatterns'), (patterns) => this.#compile(EVERYWHERE, patterns));
    const all = this.#everywhere.get('everywhere', read);
    return coveringGrant(all, id) !== undefined;
  }

  #belongingOf(user: UserId): Belonging {
    return this.#belongings.get(user, () =>
      map(this.#freshness.read('membershipsOf', user), (rows) => this.#toBelonging(rows)),
    );
  }

  #isActive(organization: OrganizationId): boolean {
    return this.#switches.get(organization, () => this.#freshness.read('isActive', organization));
  }

  #grantsIn(organization: OrganizationId): GrantSet {
    return this.#grants.get(organization, () =>
      map(this.#freshness.read('patternsOf', organization), (patterns) => this.#compile(organization, patterns)),
    );
  }

  #toBelonging(memberships: readonly Membership[]): Belonging {
    return {
      organizations: memberships.flatMap(({ organization, active }) =>
        active && organization !== undefined ? [this.#intern(organization)] : [],
      ),
      hasRow: memberships.length > 0,
    };
  }

  /** Organizations grant much the same models: one copy of each id, however many of them grant it. */
  #compile(organization: OrganizationId, patterns: readonly string[]): GrantSet {
    return compileGrants(
      organization,
      patterns.map((pattern) => this.#intern(pattern)),
    );
  }

  #intern<T extends string>(text: T): T {
    const { models } = this.#freshness.epochs;
    if (models !== this.#internedIn) this.#interned.clear();
    this.#internedIn = models;
    const known = this.#interned.get(text);
    if (known !== undefined) return known as T;
    this.#interned.set(text, text);
    return text;
  }
}

const map = <T, U>(
  read: { readonly value: T } | undefined,
  toValue: (value: T) => U,
): { readonly value: U } | undefined => (read === undefined ? undefined : { value: toValue(read.value) });

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

const EVERYWHERE = toOrganizationId('every organization');
/** The backend's own are 35 characters long (`sk-` and 32 hexadecimal digits). */
const MAX_API_KEY_LENGTH = 512;

/** A key itself is kept nowhere: neither in the cache nor in a log. */
const digestOf = (key: string): string => createHash('sha256').update(key).digest('base64');
