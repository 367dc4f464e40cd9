/** What one gate decides on PostgreSQL, 64 requests at once: they share each check. Skipped where no PostgreSQL is installed. */
import { readFileSync } from 'node:fs';
import { decide } from '../../src/policy/decide.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { type UserPrincipal, toUserId } from '../../src/policy/principal.ts';
import { type Store, createStore } from '../../src/store/store.ts';
import { addressOf, policyOf } from '../support/database/postgres-policy.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { program } from '../support/postgres-programs.ts';
import { judged, median, quantile, rounded, type Row, type Scale } from './measurement.ts';
import { MEASURED_CORE, pinProcess } from './pinned-process.ts';

interface Size {
  readonly users: number;
  readonly organizations: number;
}

const [GRANTS, AT_ONCE] = [50, 64];
/** Who asks again and again, of all organizations; the gate has seen them before. */
const ACTIVE = 10_000;
const SIZES: Readonly<Record<Scale, readonly Size[]>> = {
  quick: [{ users: 10_000, organizations: 200 }],
  default: [{ users: 100_000, organizations: 1_000 }],
  full: [
    { users: 100_000, organizations: 1_000 },
    { users: 1_000_000, organizations: 10_000 },
  ],
};

export async function measurePostgres(scale: Scale): Promise<Row[]> {
  try {
    program('postgres');
  } catch (error) {
    const figure = error instanceof Error ? error.message : String(error);
    return [{ what: 'PostgreSQL', figure, budget: '', state: 'skipped', numbers: {} }];
  }
  await using server = await startPostgres({ settings: { shared_buffers: '512MB', max_wal_size: '4GB' } });
  pinProcess(Number(readFileSync(`${server.directory}/data/postmaster.pid`, 'utf8').split('\n')[0]), MEASURED_CORE);
  const rows: Row[] = [];
  for (const size of SIZES[scale]) rows.push(...(await measureSize(server, size, scale === 'quick' ? 1_000 : 4_000)));
  return rows;
}

async function measureSize(server: PostgresServer, size: Size, ms: number): Promise<Row[]> {
  await using database = await server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  await fill(policy, size);
  const store = await createStore({
    database: { engine: 'postgresql', address: addressOf(database.url) },
    autoEnroll: false,
    warn: () => undefined,
  });
  try {
    const cold = await coldDecisions(store, size);
    await seeActive(store, size);
    const alone = await closedLoop(store, size, 1, ms);
    await closedLoop(store, size, AT_ONCE, 1_000);
    const together = await closedLoop(store, size, AT_ONCE, ms);
    return [
      rowOf(size, 'one after the other', alone, 'p95 < 1 ms', ({ p95 }) => p95 < 1),
      rowOf(size, 'one after the other, cold', cold, 'p95 < 2 ms', ({ p95 }) => p95 < 2),
      rowOf(
        size,
        `${AT_ONCE} at once`,
        together,
        '≥ 30,000/s, ≤ 10 µs',
        (at) => at.perSecond >= 30_000 && at.cpu <= 10,
      ),
    ];
  } finally {
    await store.close();
  }
}

async function fill({ run }: ReturnType<typeof policyOf>, { users, organizations }: Size): Promise<void> {
  await run(`INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
    SELECT 'user-' || n, 'u', 'user-' || n || '@example.org', 'user', '', 1, 1, 1 FROM generate_series(0, ${users - 1}) n`);
  await run(`INSERT INTO organization_members (id, organization_id, user_id)
    SELECT 'om' || n, 'organization-' || n % ${organizations}, 'user-' || n FROM generate_series(0, ${users - 1}) n`);
  await run(`INSERT INTO organization_models (id, organization_id, model_id)
    SELECT 'og' || o || '-' || m, 'organization-' || o, 'model-' || m
    FROM generate_series(0, ${organizations - 1}) o, generate_series(0, ${GRANTS - 1}) m`);
  await run('VACUUM ANALYZE');
}

/** Users of organizations that nothing is known of: one check says that, and the next one their grants. */
function coldDecisions(store: Store, { organizations }: Size): Promise<Loop> {
  // the first ones connect, compile and plan
  const [first, last] = [organizations * 0.1, organizations];
  let next = 0;
  const one = () => decideFor(store, next++, next % GRANTS);
  return loop(1, () => next < first, one).then(() => loop(1, () => next < last, one));
}

type Loop = Awaited<ReturnType<typeof loop>>;

/** @param number below `ACTIVE` */
function activeUser({ users }: Size, number: number): number {
  const every = users / ACTIVE;
  return number * every + (number % every);
}

function seeActive(store: Store, size: Size): Promise<Loop> {
  let next = 0;
  return loop(
    AT_ONCE,
    () => next < ACTIVE,
    () => decideFor(store, activeUser(size, next++), 0),
  );
}

function closedLoop(store: Store, size: Size, atOnce: number, ms: number): Promise<Loop> {
  const startedAt = performance.now();
  const random = (below: number) => Math.floor(Math.random() * below);
  const one = () => decideFor(store, activeUser(size, random(ACTIVE)), random(GRANTS));
  return loop(atOnce, () => performance.now() - startedAt < ms, one);
}

/** As many requests as are given, each beginning anew when it has its decision. */
async function loop(atOnce: number, goesOn: () => boolean, decideOne: () => Promise<void>) {
  const times: number[] = [];
  const [startedAt, before] = [performance.now(), process.cpuUsage()];
  const one = async (): Promise<void> => {
    while (goesOn()) {
      const from = performance.now();
      await decideOne();
      times.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - startedAt) / 1_000;
  return { perSecond: times.length / seconds, cpu: (user + system) / times.length, times };
}

async function decideFor(store: Store, user: number, model: number): Promise<void> {
  const principal: UserPrincipal = { kind: 'user', id: toUserId(`user-${user}`), role: 'user' };
  const id = `model-${model}` as ModelId;
  const effect = await store.ask(
    () => {
      const view = store.current();
      const known = view.user(principal.id);
      return known && decide(view, known, id, { adminAccess: 'organization' }).effect;
    },
    { user: principal, models: () => [id] },
  );
  if (effect !== 'permit') throw new Error(`user ${user} should be permitted`);
}

type Numbers = Readonly<Record<'perSecond' | 'cpu' | 'p50' | 'p95', number>>;

function rowOf(
  { users }: Size,
  how: string,
  { perSecond, cpu, times }: Loop,
  budget: string,
  isKept: (numbers: Numbers) => boolean,
): Row {
  const [p50, p95] = [rounded(median(times), 3), rounded(quantile(times, 0.95), 3)];
  const numbers = { perSecond: rounded(perSecond, 0), cpu: rounded(cpu), p50, p95 };
  return {
    what: `decisions on PostgreSQL, ${users} users, ${how}`,
    figure: `${numbers.perSecond}/s, ${numbers.cpu} µs of processor each, p50 ${p50} ms, p95 ${p95} ms`,
    budget,
    state: judged(isKept(numbers)),
    numbers,
  };
}
