import { onTestFinished } from 'vitest';
import type { DatabaseConfig } from '../../../src/config/database.ts';
import type { PostgresAddress } from '../../../src/config/postgres-url.ts';
import { toUserId } from '../../../src/policy/principal.ts';
import { decide } from '../../../src/policy/decide.ts';
import type { Decision } from '../../../src/policy/decision.ts';
import type { GrantSet, ModelId } from '../../../src/policy/grant.ts';
import type { Need } from '../../../src/store/foresight.ts';
import type { StoreView } from '../../../src/store/store-view.ts';
import { type Store, createStore } from '../../../src/store/store.ts';
import { type ManualClock, manualClock } from '../process/clock.ts';
import { PATIENCE_MS, policyPlaceOf } from './policy-place.ts';
import { addressOf } from './postgres-policy.ts';
import { type DatabaseOptions, type TestDatabase, createDatabase, sqlite } from './database.ts';

/** The view of one request, which waits for what it asks. */
export type AskedView = {
  readonly [Name in keyof StoreView]: (...args: Parameters<StoreView[Name]>) => Promise<ReturnType<StoreView[Name]>>;
};

export interface OpenedStore extends Disposable {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly warnings: string[];
  /** The view of the next request: the clock goes on by the millisecond after which the store looks again. */
  next(): AskedView;
  /** The look of the next request, which asks nothing. */
  look(): Promise<void>;
  /** What the next request of a user learns about a model. */
  effect(user: string, model: string): Promise<Decision['effect']>;
  reason(user: string, model: string): Promise<Decision['reason']>;
  /** Everything the next request of a user is granted, sorted. */
  grants(user: string): Promise<string[]>;
}

/** A store on a test's database, on whichever engine it is, on a file, or on PostgreSQL, with a clock of its own. */
export async function openStore(
  place: TestDatabase | string | PostgresAddress,
  options: Partial<Parameters<typeof createStore>[0]> = {},
): Promise<OpenedStore> {
  const clock = manualClock();
  const warnings: string[] = [];
  const store = await createStore({
    database: await configOf(place),
    deadlineMs: PATIENCE_MS,
    autoEnroll: false,
    warn: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
    now: clock.now,
    ...options,
  });
  // before its place is taken away
  if (typeof place === 'object' && 'sql' in place) onTestFinished(() => store.close());
  const ask = async <T>(question: (view: StoreView) => T, need?: Need): Promise<T> =>
    store.ask(() => question(store.current()), need);
  const next = (): AskedView => {
    clock.advance(1);
    return {
      user: (id) => ask((view) => view.user(id)),
      isSessionOver: (id, stamp) => ask((view) => view.isSessionOver(id, stamp)),
      userOfApiKey: (key) => ask((view) => view.userOfApiKey(key)),
      grantsOf: (user) => ask((view) => view.grantsOf(user), { user }),
      preset: (id) => ask((view) => view.preset(id)),
      hasModelRow: (id) => ask((view) => view.hasModelRow(id)),
      isComposite: (id) => ask((view) => view.isComposite(id)),
      connectionPrefixes: () => ask((view) => view.connectionPrefixes()),
      providerSettings: () => ask((view) => view.providerSettings()),
      openrouterKeyOf: (organization) => ask((view) => view.openrouterKeyOf(organization)),
      presetsOn: (base) => ask((view) => view.presetsOn(base)),
      budgetsOf: (organization) => ask((view) => view.budgetsOf(organization)),
      allBudgets: () => ask((view) => view.allBudgets()),
      organizationName: (organization) => ask((view) => view.organizationName(organization)),
      isGrantedAnywhere: (id) => ask((view) => view.isGrantedAnywhere(id)),
    };
  };
  const decision = async (id: string, model: string): Promise<Decision> => {
    const user = await next().user(toUserId(id));
    if (user === undefined) return { effect: 'deny', reason: 'not_authenticated', chain: [] };
    const named = model as ModelId;
    const need = { user, models: () => [named] };
    return ask((view) => decide(view, user, named, { adminAccess: 'organization' }), need);
  };
  return {
    store,
    clock,
    warnings,
    next,
    look: async () => {
      clock.advance(1);
      await store.load();
    },
    effect: async (user, model) => (await decision(user, model)).effect,
    reason: async (user, model) => (await decision(user, model)).reason,
    grants: async (id) => {
      const view = next();
      const user = await view.user(toUserId(id));
      return user === undefined ? [] : patterns(await view.grantsOf(user));
    },
    [Symbol.dispose]: () => void store.close(),
  };
}

async function configOf(place: TestDatabase | string | PostgresAddress): Promise<DatabaseConfig> {
  if (typeof place === 'string') return sqlite(place);
  if (!('sql' in place)) return { engine: 'postgresql', address: place };
  const { url } = await policyPlaceOf(place);
  return url.startsWith('sqlite:') ? sqlite(place.path) : { engine: 'postgresql', address: addressOf(url) };
}

/** `organization/pattern` of each grant, sorted. */
export const patterns = (sets: readonly GrantSet[]): string[] =>
  sets
    .flatMap((set) =>
      [...set.exact, ...set.prefixes.map((prefix) => `${prefix}*`)].map((id) => `${set.organization}: ${id}`),
    )
    .sort();

/** As `createDatabase`, inside of a test: closed and removed with its end. */
export function databaseOfTest(options: DatabaseOptions = {}): TestDatabase {
  const database = createDatabase(options);
  onTestFinished(() => database.close());
  return database;
}
