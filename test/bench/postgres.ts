/** What one gate decides on PostgreSQL, 64 requests at once: they share each check. Skipped where no PostgreSQL is installed. */
import { decide } from '../../src/policy/decide.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { type UserPrincipal, toUserId } from '../../src/policy/principal.ts';
import { type Store, createStore } from '../../src/store/store.ts';
import { addressOf, policyOf } from '../support/database/postgres-policy.ts';
import { startPostgres } from '../support/postgres.ts';
import { program } from '../support/postgres-programs.ts';
import { judged, quantile, rounded, type Row, type Scale } from './measurement.ts';

const [USERS, ORGANIZATIONS, GRANTS, AT_ONCE] = [10_000, 200, 50, 64];

export async function measurePostgres(scale: Scale): Promise<Row[]> {
  try {
    program('postgres');
  } catch (error) {
    const figure = error instanceof Error ? error.message : String(error);
    return [{ what: 'PostgreSQL', figure, budget: '', state: 'skipped', numbers: {} }];
  }
  await using server = await startPostgres();
  await using database = await server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  await fill(policy);
  const store = await createStore({ databasePath: addressOf(database.url), autoEnroll: false, warn: () => undefined });
  try {
    const ms = scale === 'quick' ? 1_000 : 4_000;
    await closedLoop(store, 1, 500);
    const alone = await closedLoop(store, 1, ms);
    await closedLoop(store, AT_ONCE, 1_000);
    return [
      rowOf('one after the other', alone, true),
      rowOf(`${AT_ONCE} at once`, await closedLoop(store, AT_ONCE, ms)),
    ];
  } finally {
    await store.close();
  }
}

async function fill({ run }: ReturnType<typeof policyOf>): Promise<void> {
  await run(`INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
    SELECT 'user-' || n, 'u', 'user-' || n || '@example.org', 'user', '', 1, 1, 1 FROM generate_series(0, ${USERS - 1}) n`);
  await run(`INSERT INTO organization_members (id, organization_id, user_id)
    SELECT 'om' || n, 'organization-' || n % ${ORGANIZATIONS}, 'user-' || n FROM generate_series(0, ${USERS - 1}) n`);
  await run(`INSERT INTO organization_models (id, organization_id, model_id)
    SELECT 'og' || o || '-' || m, 'organization-' || o, 'model-' || m
    FROM generate_series(0, ${ORGANIZATIONS - 1}) o, generate_series(0, ${GRANTS - 1}) m`);
  await run('ANALYZE');
}

type Loop = Awaited<ReturnType<typeof closedLoop>>;

/** As many requests as are given, each beginning anew when it has its decision. */
async function closedLoop(store: Store, atOnce: number, ms: number) {
  const times: number[] = [];
  const [startedAt, before] = [performance.now(), process.cpuUsage()];
  const one = async (): Promise<void> => {
    while (performance.now() - startedAt < ms) {
      const from = performance.now();
      await decideFor(store, Math.floor(Math.random() * USERS), Math.floor(Math.random() * GRANTS));
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

function rowOf(how: string, { perSecond, cpu, times }: Loop, isAlone = false): Row {
  const numbers = { perSecond: rounded(perSecond, 0), cpu: rounded(cpu), p95: rounded(quantile(times, 0.95)) };
  return {
    what: `decisions on PostgreSQL, ${how}`,
    figure: `${numbers.perSecond}/s, ${numbers.cpu} µs of processor each, p95 ${numbers.p95} ms`,
    budget: isAlone ? 'p95 < 1 ms' : '≥ 30,000/s, ≤ 10 µs',
    state: judged(isAlone ? numbers.p95 < 1 : perSecond >= 30_000 && cpu <= 10),
    numbers,
  };
}
