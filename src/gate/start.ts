/** The gate with its store, metrics and admin listener: started in order, closed in the reverse order. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createAdminServer, createReadiness } from '../admin/server.ts';
import type { Config, ListenAddress } from '../config/schema.ts';
import type { RedisLimits } from '../limits/redis.ts';
import { createProviderDoor } from '../provider-door/door.ts';
import { type Store, createStore } from '../store/store.ts';
import type { Log } from '../telemetry/log.ts';
import { type Metrics, createMetrics } from '../telemetry/metrics.ts';
import { createRecentDecisions } from '../telemetry/recent-decisions.ts';
import { createBudgetFigures } from '../usage/budget-figures.ts';
import { type Ledger, createLedger } from '../usage/ledger.ts';
import { createGate } from './gate.ts';

export type RunningGate = Awaited<ReturnType<typeof startGate>>;

type Usage = NonNullable<Config['usage']>;

/** The message is for the operator. */
export class ListenFailure extends Error {}

/** @throws ListenFailure where one of the two addresses cannot be listened on */
export async function startGate(config: Config, log: Log, version: string) {
  let current = config;
  const { provider, usage } = config;
  const { bypass } = config.policy;
  const mode = () => current.policy.mode;
  const storeHealth = () => store.health();
  const metrics = createMetrics({
    version,
    mode,
    bypass: bypass !== undefined,
    storeHealth,
    storeFigures: () => store.figures(),
    // there before the first look at the figures
    ledger: () => watched,
    ...{ redis: () => redis?.state(), revocations: () => ended?.revocations },
  });
  const store = await openStore(config, log, metrics);
  const redis = await openRedis(config, log, metrics);
  const ended = await openRevocations(config, log, redis);
  const decisions = createRecentDecisions(log.redact);
  const ledger = usage && (await openLedger(usage, log, metrics));
  const watched = ledger && watch(ledger, usage, store);
  const parts = { config, store, log, metrics, decisions };
  const gate = createGate({ ...parts, ledger, redis, revocations: ended?.revocations });
  const door = provider && usage && ledger && createProviderDoor({ ...parts, provider, usage, ledger });
  const admin = createAdminServer({
    address: config.admin,
    readiness: createReadiness({ version, mode, bypass, storeHealth, ledger: watched, redis, ...gate }),
    metrics,
    decisions,
    reportError: (error) => log.error({ err: error }, 'the admin listener failed to answer'),
  });
  const close = async (): Promise<number> => {
    const [cutAtFront, cutAtProviders = 0] = await Promise.all([gate.drain(), door?.drain()]);
    await admin.close();
    await ledger?.close();
    await store.close();
    // a cut answer ends with the close of its socket, one turn later, and its access line comes one turn after that
    for (let turn = 0; turn < 3; turn += 1) await nextTurn();
    // after them: what they held there is given back
    await redis?.close();
    ended?.close();
    return cutAtFront + cutAtProviders;
  };
  const reconfigure = (changed: Config): void => {
    gate.reconfigure(changed);
    door?.reconfigure(changed);
    current = changed;
  };
  const announceDrain = (): void => {
    gate.announceDrain();
    door?.announceDrain();
  };
  try {
    return { ...(await listenAll(config, { gate, admin, door })), reconfigure, announceDrain, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Doors {
  readonly gate: Pick<ReturnType<typeof createGate>, 'listen'>;
  readonly admin: Pick<ReturnType<typeof createAdminServer>, 'listen'>;
  readonly door: Pick<ReturnType<typeof createProviderDoor>, 'listen' | 'address'> | undefined;
}

async function listenAll(config: Config, { gate, admin, door }: Doors) {
  const { url, port } = await listening('MODELGATE_PORT', config.listen, gate.listen());
  const { url: adminUrl, port: adminPort } = await listening('MODELGATE_ADMIN_PORT', config.admin, admin.listen());
  const behind = door && (await listening('MODELGATE_PROVIDER_PORT', door.address, door.listen()));
  return { url, port, adminUrl, adminPort, providerUrl: behind?.url };
}

function openStore({ database, policy, organization }: Config, log: Log, { policyChecked }: Metrics): Promise<Store> {
  return createStore({
    database,
    maxStaleMs: policy.maxStaleMs,
    maxAgeMs: policy.maxAgeMs,
    organization,
    autoEnroll: organization?.autoEnroll ?? false,
    warn: (message, fields) => log.warn(fields, message),
    checked: policyChecked,
  });
}

/** Its library is loaded only where it is used. A gate that is bypassed limits nothing. */
async function openRedis({ redis, policy }: Config, log: Log, metrics: Metrics): Promise<RedisLimits | undefined> {
  if (redis === undefined || policy.bypass !== undefined) return undefined;
  const { createRedisLimits } = await import('../limits/redis.ts');
  return createRedisLimits({ config: redis, log, metrics });
}

/** By the connection of the limits where they are counted in the backend's Redis. */
async function openRevocations({ revocations, policy }: Config, log: Log, redis: RedisLimits | undefined) {
  if (revocations === undefined || policy.bypass !== undefined) return undefined;
  const { keyPrefix, elsewhere } = revocations;
  const { createRevocations, linkToRevocations } = await import('../limits/redis-revocations.ts');
  const own = elsewhere && (await linkToRevocations(elsewhere, log));
  const link = own ?? redis?.link;
  return link && { revocations: createRevocations(link, { keyPrefix, log }), close: () => own?.close() };
}

/** Its sums are where the counters begin: a restart is no reset. The first call need not wait for it. */
async function openLedger(usage: Usage, log: Log, metrics: Metrics): Promise<Ledger> {
  const warn = (message: string, fields: Record<string, unknown>) => log.warn(fields, message);
  const ledger = createLedger({ ...usage, warn, committed: metrics.usage.committed });
  const sums = await ledger.sums().catch(() => undefined);
  sums?.forEach(metrics.usage.counted);
  return ledger;
}

/** What operators see of it. */
const watch = (ledger: Ledger, usage: Usage, store: Store) => ({
  state: () => ({ ...ledger.counts, problem: ledger.problem, whenDown: usage.whenDown }),
  budgets: createBudgetFigures({ store, ledger, ...usage }),
});

async function listening<T>(setting: string, { host, port }: ListenAddress, listen: Promise<T>): Promise<T> {
  try {
    return await listen;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const reason = REASONS[code] ?? `it failed with ${code}`;
    const remedy = code === 'EADDRINUSE' || code === 'EACCES' ? setting : setting.replace('PORT', 'HOST');
    throw new ListenFailure(`Cannot listen on ${host} port ${port}: ${reason}. ${remedy} chooses another.`, {
      cause: error,
    });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process uses it',
  EACCES: 'this user may not use a port that low',
  EADDRNOTAVAIL: 'no interface of this machine has this address',
  ENOTFOUND: 'this host name has no address',
  EAI_AGAIN: 'this host name has no address at the moment',
};
