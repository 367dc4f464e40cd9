/** What the view keeps of the file: memberships and grants while the file says so, all else until the next commit. */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import { compileGrants } from '../policy/grant.ts';
import { type UserPrincipal, toOrganizationId, toUserId } from '../policy/principal.ts';
import type { Organization } from './initialize.ts';
import type { PointRead, PointReads, Source } from './queries.ts';

interface CacheOptions<V> {
  /** Most entries, or most of what `sizeOf` counts. */
  readonly maxSize?: number;
  readonly sizeOf?: (value: V) => number;
  /** An entry of another epoch is read again; where it cannot be, it serves for as long as stale answers are allowed. */
  readonly epoch?: (value: V) => number;
  readonly placeOf?: (key: string) => string;
  /** Absent values have a cache of their own, where they push no others out; they never serve stale. */
  readonly isGuessed?: boolean;
}

type Staleness = Readonly<{ maxStaleMs: number; now: () => number; enrols?: boolean }>;
type Configured = Readonly<{ organization?: Organization | undefined }>;

interface Entry<V> {
  value: V;
  epoch: number;
  /** When it was read, or asked for while nothing had changed. */
  confirmedAt: number;
  isNew: boolean;
}

const createEntries = <V>(maxSize: number, sizeOf: (value: V) => number = one) =>
  // not `max`: it would take the memory of a full cache at once, and 60 ms of the start
  new LRUCache<string, Entry<V>>({
    maxSize,
    sizeCalculation: ({ value }) => Math.min(sizeOf(value), maxSize),
  });

/** Each check of PostgreSQL reads them anew: where all are of one size, a change costs less than another entry. */
function keep<V>(
  entries: ReturnType<typeof createEntries<V>>,
  place: string,
  entry: Entry<V>,
  isOfOneSize: boolean,
): void {
  const known = isOfOneSize ? entries.peek(place) : undefined;
  if (known === undefined) return void entries.set(place, entry);
  known.value = entry.value;
  known.epoch = entry.epoch;
  known.confirmedAt = entry.confirmedAt;
  known.isNew = entry.isNew;
}

export type Caches = ReturnType<typeof createCaches>;

function createCache<N extends PointRead, V>(
  source: Source,
  { maxStaleMs, now }: Staleness,
  name: N,
  toValue: (found: ReturnType<PointReads[N]>, key: string) => V,
  options: CacheOptions<V> = {},
) {
  const { maxSize = 1, sizeOf, placeOf = same } = options;
  const ofSource = () => source.status.generation;
  const { epoch = ofSource } = source.isCurrent === undefined ? options : {};
  const counts = { hits: 0, misses: 0 };
  const [entries, guesses] = [createEntries(maxSize, sizeOf), createEntries(maxSize, sizeOf)];
  const isTrue = ({ epoch: read, value }: Entry<V>) => source.isCurrent?.(read) ?? read === epoch(value);
  const isFresh = (entry?: Entry<V>): entry is Entry<V> => entry !== undefined && isTrue(entry);

  function put(found: ReturnType<PointReads[N]>, key: string): V {
    const value = toValue(found, key);
    const isGuess = options.isGuessed === true && value === undefined;
    counts.misses += 1;
    const place = placeOf(key);
    if (isGuess) entries.delete(place);
    const entry = { value, epoch: epoch(value), confirmedAt: source.goodAt, isNew: true };
    keep(isGuess ? guesses : entries, place, entry, sizeOf === undefined);
    return value;
  }

  /** @throws NotLoaded @throws GatewayError `policy_unavailable` */
  function get(key = ''): V {
    const known = entries.get(placeOf(key));
    const fresh = isFresh(known) ? known : guesses.get(placeOf(key));
    if (isFresh(fresh)) {
      if (fresh.isNew) fresh.isNew = fresh !== known;
      else counts.hits += 1;
      if (source.isCurrent === undefined) fresh.confirmedAt = source.goodAt;
      return fresh.value;
    }
    const found = source.read(name, key);
    if (found !== undefined) return put(found.value, key);
    counts.misses += 1;
    if (known !== undefined && now() - known.confirmedAt <= maxStaleMs) return known.value;
    throw new GatewayError('policy_unavailable', { cause: source.problem });
  }

  const lastOf = (key: string) => entries.peek(placeOf(key)) ?? guesses.peek(placeOf(key));

  /** What was known is true still. @returns false where nothing is known */
  function confirm(key = ''): boolean {
    const known = lastOf(key);
    if (known === undefined) return false;
    known.epoch = epoch(known.value);
    known.confirmedAt = source.goodAt;
    return true;
  }

  /** @returns what was last known, however old */
  const peek = (key = ''): V | undefined => lastOf(key)?.value;

  return { counts, get, put, confirm, peek };
}

/**
 * @param options `enrols`: whether a user without any membership becomes a member when they are read; `organization`: that of the
 *   environment, with its name
 */
export function createCaches(source: Source, options: Staleness & Configured) {
  const { enrols = false, organization: configured } = options;
  const models = () => source.status.epochs.models;
  const intern = createInterner(models);
  const cache = <N extends PointRead, V>(
    name: N,
    toValue: (found: ReturnType<PointReads[N]>, key: string) => V,
    rules?: CacheOptions<V>,
  ) => createCache(source, options, name, toValue, rules);
  // organizations grant much the same models: one copy of each id, however many of them grant it
  const compile = (patterns: readonly string[], organization: string) =>
    compileGrants(toOrganizationId(organization), patterns.map(intern));
  return {
    accountOf: cache('accountOf', toAccount, { maxSize: 100_000, isGuessed: true }),
    // a key itself is kept nowhere: neither in the cache nor in a log
    userOfApiKey: cache('userOfApiKey', same, { maxSize: 20_000, isGuessed: true, placeOf: digestOf }),
    membershipsOf: cache('membershipsOf', (joined) => joined?.map(intern), {
      maxSize: 100_000,
      // a user without any row may be enrolled the next time
      epoch: (joined) => (enrols && joined === undefined ? source.goodAt : source.status.epochs.members),
    }),
    patternsOf: cache('patternsOf', compile, {
      // of all cached organizations together, about 100 bytes each
      maxSize: 1_000_000,
      sizeOf: (set) => 1 + set.exact.size + set.prefixes.length,
      epoch: models,
    }),
    isActive: cache('isActive', same, { maxSize: 50_000 }),
    preset: cache('preset', same, { maxSize: 50_000 }),
    allPatterns: cache('allPatterns', (patterns) => compile(patterns, 'every organization'), { epoch: models }),
    composites: cache('composites', same),
    connectionPrefixes: cache('connectionPrefixes', same),
    providerSettings: cache('providerSettings', same),
    budgetsOf: cache('budgetsOf', same, { maxSize: 50_000 }),
    allBudgets: cache('allBudgets', same),
    organizationName: cache('organizationName', (name, id) => name ?? (configured?.id === id ? configured.name : id), {
      maxSize: 50_000,
    }),
    openrouterKeyOf: cache('openrouterKeyOf', same, { maxSize: 50_000 }),
    presetsOn: cache('presetsOn', same, { maxSize: 50_000 }),
  };
}

const same = <T>(value: T): T => value;
const one = () => 1;
const digestOf = (key: string): string => createHash('sha256').update(key).digest('base64');
/** @returns the user with today's role, and the stamp that a session must carry, where the backend keeps any */
const toAccount = (account: ReturnType<PointReads['accountOf']>, id: string) => {
  if (account === undefined) return undefined;
  const { role, ...stamp } = account;
  return { user: { kind: 'user', id: toUserId(id), role } satisfies UserPrincipal as UserPrincipal, ...stamp };
};

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
