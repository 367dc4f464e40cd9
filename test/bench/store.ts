/**
 * What the policy store costs: `node --expose-gc test/bench/store.ts`. One line a figure; times in microseconds.
 */
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { type UserId, type UserPrincipal, toUserId } from '../../src/policy/principal.ts';
import { decide } from '../../src/policy/decide.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import type { StoreView } from '../../src/store/store-view.ts';
import { type Store, createStore } from '../../src/store/store.ts';
import { sqlite } from '../support/database/database.ts';
import { manualClock } from '../support/process/clock.ts';
import { createLargeDatabase, type LargeDatabase } from './large-database.ts';

export interface Timing {
  readonly name: string;
  readonly samples: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

interface Repetition {
  readonly samples: number;
  /** Calls timed together, where one call is too short to time. */
  readonly group?: number;
  /** Not timed; before every sample. */
  readonly before?: () => unknown;
}

async function time(name: string, repetition: Repetition, work: (index: number) => unknown): Promise<Timing> {
  const { samples, group = 1, before } = repetition;
  const times = new Float64Array(samples);
  for (let sample = 0; sample < samples; sample++) {
    await before?.();
    const started = performance.now();
    for (let call = 0; call < group; call++) {
      const pending = work(sample * group + call);
      if (pending instanceof Promise) await pending;
    }
    times[sample] = ((performance.now() - started) * 1000) / group;
  }
  times.sort();
  const at = (share: number) => times[Math.min(samples - 1, Math.floor(samples * share))] ?? Number.NaN;
  return { name, samples, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** @returns every figure; the database's own connection is the backend that commits */
export async function measureStore(database: LargeDatabase): Promise<Timing[]> {
  const clock = manualClock();
  const options = { database: sqlite(database.path), autoEnroll: false, warn: () => undefined, now: clock.now };
  const start = await time('start with a complete file', { samples: 5 }, async () =>
    (await createStore(options)).close(),
  );
  const store = await createStore(options);
  const next = () => {
    clock.advance(1);
    return store.load();
  };
  const bench = { database, store, next };
  const all = [start, ...(await cold(bench)), ...(await warm(bench)), ...(await afterCommits(bench))];
  await store.close();
  return all;
}

interface Bench {
  readonly database: LargeDatabase;
  readonly store: Store;
  next(): void | Promise<void>;
}

/** A stride that meets every user once before it meets one again, and neighbours never in a row. */
const scattered = (database: LargeDatabase, index: number): UserId =>
  toUserId(database.userId((index * 7919) % database.size.users));

/** A decision, or the promise of one where something must be loaded for it. */
function judge({ database, store }: Bench, user: number, model: number): unknown {
  const id = database.modelId(model % database.size.models) as ModelId;
  const principal: UserPrincipal = { kind: 'user', id: scattered(database, user), role: 'user' };
  return store.ask(
    () => {
      const view = store.current();
      const known = view.user(principal.id);
      return known && decide(view, known, id, { adminAccess: 'organization' });
    },
    { user: principal, models: () => [id] },
  );
}

async function cold(bench: Bench): Promise<Timing[]> {
  const { database, store, next } = bench;
  const touch = database.sql.prepare('UPDATE organization_models SET updated_at = 1 WHERE organization_id = ?');
  const forgetAll = () => {
    touch.run(database.organizationId(0));
    return next();
  };
  const ask = (question: (view: StoreView) => unknown) => store.ask(() => question(store.current()));
  return [
    await time('decision, nothing cached', { samples: 1_000, before: forgetAll }, (index) =>
      judge(bench, index, index),
    ),
    await time('decision, user not cached', { samples: 20_000 }, (index) => judge(bench, index + 1_000, index)),
    await time('API key, not cached', { samples: 10_000 }, (index) =>
      ask((view) => view.userOfApiKey(database.apiKey(index))),
    ),
    await time('is granted anywhere, after a change of grants', { samples: 10, before: forgetAll }, () =>
      ask((view) => view.isGrantedAnywhere('provider/nowhere' as ModelId)),
    ),
  ];
}

async function warm(bench: Bench): Promise<Timing[]> {
  const { database, store } = bench;
  const view = store.current();
  const user = (index: number): UserPrincipal => ({ kind: 'user', id: scattered(database, index % 500), role: 'user' });
  return [
    await time('decision, cached', { samples: 2_000, group: 100 }, (index) => judge(bench, index % 500, index)),
    await time('grantsOf, cached', { samples: 2_000, group: 100 }, (index) => view.grantsOf(user(index))),
    await time('API key, cached', { samples: 2_000, group: 10 }, (index) =>
      view.userOfApiKey(database.apiKey(index % 500)),
    ),
    await time('load(), within a millisecond of the last look', { samples: 2_000, group: 100 }, () => store.load()),
  ];
}

async function afterCommits(bench: Bench): Promise<Timing[]> {
  const { database, next } = bench;
  const write = database.sql.prepare('UPDATE "user" SET last_active_at = last_active_at + 1 WHERE id = ?');
  const commit = () => write.run(database.userId(1));
  const { models } = database.size;
  return [
    await time('load(), nothing committed', { samples: 20_000 }, () => next()),
    await time('load(), after a commit of the backend', { samples: 2_000, before: commit }, () => next()),
    await time('the same with a decision', { samples: 2_000, before: commit }, async (index) => {
      await next();
      return judge(bench, index % 500, index);
    }),
    await time(`${models} models listed, after a commit`, { samples: 300, before: commit }, async (index) => {
      await next();
      for (let model = 0; model < models; model++) await judge(bench, index, model);
    }),
  ];
}

const megabytes = () => {
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: (heapUsed + external) / 1e6, rss: rss / 1e6 };
};

/** Every user seen once, so that every cache is as full as it gets. */
async function measureMemory(database: LargeDatabase): Promise<string> {
  const before = megabytes();
  const store = await createStore({ database: sqlite(database.path), autoEnroll: false, warn: () => undefined });
  for (let index = 0; index < database.size.users; index++) {
    const user: UserPrincipal = { kind: 'user', id: toUserId(database.userId(index)), role: 'user' };
    await store.ask(() => [store.current().user(user.id), store.current().grantsOf(user)], { user });
  }
  const after = megabytes();
  await store.close();
  return `${(after.heap - before.heap).toFixed(1)} MB of heap (RSS ${before.rss.toFixed(0)} → ${after.rss.toFixed(0)} MB)`;
}

function print(timing: Timing): void {
  const columns = [timing.p50, timing.p95, timing.p99, timing.max].map((value) => value.toFixed(2).padStart(10));
  console.log(`${timing.name.padEnd(54)}${columns.join('')}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  using database = createLargeDatabase();
  const initialized = await createStore({ database: sqlite(database.path), autoEnroll: false, warn: () => undefined });
  await initialized.close();
  for (const journalMode of ['wal', 'delete']) {
    database.sql.pragma(`journal_mode = ${journalMode}`);
    console.log(`\n${journalMode}; memory with every user seen: ${await measureMemory(database)}`);
    console.log(`${'µs'.padEnd(54)}${['p50', 'p95', 'p99', 'max'].map((head) => head.padStart(10)).join('')}`);
    for (const timing of await measureStore(database)) print(timing);
  }
}
