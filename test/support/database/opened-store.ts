import { onTestFinished } from 'vitest';
import { toUserId } from '../../../src/identity/principal.ts';
import { decide } from '../../../src/policy/decide.ts';
import type { Decision } from '../../../src/policy/decision.ts';
import type { GrantSet, ModelId } from '../../../src/policy/grant.ts';
import type { Store, StoreView } from '../../../src/store/store-view.ts';
import type { StoreOptions } from '../../../src/store/store.ts';
import { createStore } from '../../../src/store/store.ts';
import type { ManualClock } from '../process/clock.ts';
import { manualClock } from '../process/clock.ts';
import type { DatabaseOptions, TestDatabase } from './database.ts';
import { createDatabase } from './database.ts';

export interface OpenedStore extends Disposable {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly warnings: string[];
  /** The view of the next request: the clock goes on by the millisecond after which the store looks again. */
  next(): StoreView;
  /** What the next request of a user is told about a model. */
  effect(user: string, model: string): Decision['effect'];
  reason(user: string, model: string): Decision['reason'];
  /** Everything the next request of a user is granted, sorted. */
  grants(user: string): string[];
}

/** A store on a file, with a clock of its own. */
export function openStore(databasePath: string, options: Partial<StoreOptions> = {}): OpenedStore {
  const clock = manualClock();
  const warnings: string[] = [];
  const store = createStore({
    databasePath,
    // on a busy machine another thread may take its time
    deadlineMs: 10_000,
    autoEnroll: false,
    warn: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
    now: clock.now,
    ...options,
  });
  const next = () => {
    clock.advance(1);
    return store.current();
  };
  const decision = (user: string, model: string): Decision => {
    const view = next();
    const principal = view.user(toUserId(user));
    if (principal === undefined) return { effect: 'deny', reason: 'not_authenticated', chain: [] };
    return decide(view, principal, model as ModelId, { adminAccess: 'organization' });
  };
  return {
    store,
    clock,
    warnings,
    next,
    effect: (user, model) => decision(user, model).effect,
    reason: (user, model) => decision(user, model).reason,
    grants: (user) => {
      const view = next();
      const principal = view.user(toUserId(user));
      return principal === undefined ? [] : patterns(view.grantsOf(principal));
    },
    [Symbol.dispose]: () => store.close(),
  };
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
