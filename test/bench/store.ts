/**
 * What the policy store costs: `node --expose-gc test/bench/store.ts`. One line a figure; times in microseconds.
 */
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import type { UserPrincipal } from '../../src/identity/principal.ts';
import { toUserId } from '../../src/identity/principal.ts';
import { decide } from '../../src/policy/decide.ts';
import type { ModelId } from '../../src/policy/model-id.ts';
import type { Store, StoreView } from '../../src/store/store-view.ts';
import { createStore } from '../../src/store/store.ts';
import { manualClock } from '../support/clock.ts';
import type { LargeDatabase } from './large-database.ts';
import { createLargeDatabase } from './large-database.ts';

export interface Timing {
  readonly name: string;
  readonly samples: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Runs `work` for each index and times every call by itself, or in groups where one call is too short to time. */
function time(name: string, samples: number, work: (index: number) => unknown, group = 1): Timing {
  const times = new Float64Array(samples);
  for (let sample = 0; sample < samples; sample++) {
    const started = performance.now();
    for (let call = 0; call < group; call++) work(sample * group + call);
    times[sample] = ((performance.now() - started) * 1000) / group;
  }
  times.sort();
  const at = (share: number) => times[Math.min(samples - 1, Math.floor(samples * share))] ?? Number.NaN;
  return { name, samples, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** @returns every figure, for one journal mode */
export function measureStore(database: LargeDatabase): Timing[] {
  const clock = manualClock();
  const started = performance.now();
  const store = createStore({
    databasePath: database.path,
    autoEnroll: false,
    warn: () => undefined,
    now: clock.now,
  });
  const opened = (performance.now() - started) * 1000;
  const { size } = database;
  const user = (index: number): UserPrincipal => ({
    kind: 'user',
    id: toUserId(database.userId((index * 7919) % size.users)),
    role: 'user',
  });
  const options = { adminAccess: 'organization' } as const;
  const judge = (view: StoreView, index: number) => {
    const principal = view.user(user(index).id);
    return principal && decide(view, principal, database.modelId(index % size.models) as ModelId, options);
  };
  // another connection of the same process commits: SQLite tells it to the store's as it does another process's
  const commit = database.sql.prepare('UPDATE "user" SET last_active_at = last_active_at + 1 WHERE id = ?');
  const withdraw = database.sql.prepare('UPDATE organization_models SET updated_at = updated_at + 1 WHERE id = ?');
  const grantRow = `orgmod_${database.organizationId(0)}_${database.modelId(0)}`;
  const next = (): StoreView => {
    clock.advance(1);
    return store.current();
  };
  const all = timings(store, database, { next, judge, user, commit, withdraw, grantRow });
  store.close();
  return [
    { name: 'start with a complete file', samples: 1, p50: opened, p95: opened, p99: opened, max: opened },
    ...all,
  ];
}

interface Bench {
  next(): StoreView;
  judge(view: StoreView, index: number): unknown;
  user(index: number): UserPrincipal;
  readonly commit: { run(id: string): unknown };
  readonly withdraw: { run(id: string): unknown };
  readonly grantRow: string;
}

function timings(store: Store, database: LargeDatabase, bench: Bench): Timing[] {
  const { next, judge, user, commit, withdraw, grantRow } = bench;
  const view = store.current();
  const { size } = database;
  return [
    time('decision, everything cold', 1_000, (index) => {
      withdraw.run(grantRow);
      return judgeColdly(bench, index);
    }),
    time('decision, user cold, grants warm', 20_000, (index) => judge(view, index + 1_000)),
    time('decision, warm', 2_000, (index) => judge(view, index % 500), 100),
    time('grantsOf, warm', 2_000, (index) => view.grantsOf(user(index % 500)), 100),
    time('API key, cold', 10_000, (index) => view.userOfApiKey(`sk-${index.toString(16).padStart(32, '0')}`)),
    time(
      'API key, warm',
      2_000,
      (index) => view.userOfApiKey(`sk-${(index % 500).toString(16).padStart(32, '0')}`),
      10,
    ),
    time('current(), look within the millisecond', 2_000, () => store.current(), 100),
    time('current(), nothing committed', 20_000, next),
    time('current() and decision after a commit of the backend', 2_000, (index) => {
      commit.run(database.userId(0));
      return judge(next(), index % 500);
    }),
    time('the same without the commit itself', 2_000, (index) => {
      commit.run(database.userId(0));
      const started = performance.now();
      judge(next(), index % 500);
      return started;
    }),
    time('300 models listed after a commit', 200, (index) => {
      commit.run(database.userId(0));
      const after = next();
      for (let model = 0; model < size.models; model++) judge(after, index % 500);
    }),
    time('is granted anywhere, after a change of grants', 20, () => {
      withdraw.run(grantRow);
      return next().isGrantedAnywhere(database.modelId(1) as ModelId);
    }),
  ];
}

function judgeColdly({ next, judge }: Bench, index: number): unknown {
  return judge(next(), index);
}

const megabytes = () => {
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: (heapUsed + external) / 1e6, rss: rss / 1e6 };
};

/** Every user seen once, so that every cache is as full as it gets. */
function measureMemory(database: LargeDatabase): string {
  const before = megabytes();
  const store = createStore({ databasePath: database.path, autoEnroll: false, warn: () => undefined });
  const view = store.current();
  for (let index = 0; index < database.size.users; index++) {
    const principal = view.user(toUserId(database.userId(index)));
    if (principal !== undefined) view.grantsOf(principal);
  }
  const after = megabytes();
  store.close();
  return `${(after.heap - before.heap).toFixed(1)} MB of heap (RSS ${before.rss.toFixed(0)} → ${after.rss.toFixed(0)} MB)`;
}

function print(timing: Timing): void {
  const columns = [timing.p50, timing.p95, timing.p99, timing.max].map((value) => value.toFixed(2).padStart(10));
  console.log(`${timing.name.padEnd(54)}${columns.join('')}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const journalMode of ['wal', 'delete'] as const) {
    using database = createLargeDatabase({ journalMode });
    const store = createStore({ databasePath: database.path, autoEnroll: false, warn: () => undefined });
    store.close();
    console.log(`\n${journalMode}, ${database.size.users} users, ${database.size.organizations} organizations, µs`);
    console.log(`${''.padEnd(54)}${['p50', 'p95', 'p99', 'max'].map((head) => head.padStart(10)).join('')}`);
    console.log(`memory with every user seen: ${measureMemory(database)}`);
    for (const timing of measureStore(database)) print(timing);
  }
}
