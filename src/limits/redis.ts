/** Limits that several gates count together. While Redis is away, each gate counts its share by itself. */
import { randomUUID } from 'node:crypto';
import type { RedisConfig } from '../config/redis.ts';
import type { LimitsConfig, RateLimit } from '../config/schema.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type Bucket, Debts, bucketsOf, judge } from './bucket.ts';
import type { RateName } from './headers.ts';
import type { Allowances, Charge, Start } from './limits.ts';
import { createMemoryAllowances, startWith } from './memory.ts';
import { createAgreement } from './redis-agreement.ts';
import { describeRedis } from './redis-client.ts';
import { RedisLink } from './redis-link.ts';
import { LEASE_MS, RedisPlaces } from './redis-places.ts';
import { type RedisClient, CHARGE, REPORT, run } from './redis-scripts.ts';

const REPORT_MS = 5_000;
/** A gate that has not reported for so long counts no more. */
const GONE_MS = 15_000;

interface RedisLimitsParts {
  readonly config: RedisConfig;
  readonly log: Pick<Log, 'info' | 'warn'>;
  readonly metrics: { readonly redis: Pick<Metrics['redis'], 'answered' | 'without'> };
  /** Monotonic, in milliseconds. */
  readonly now?: () => number;
  /** How long a request waits for Redis. */
  readonly answerMs?: number;
}

export type RedisLimits = Awaited<ReturnType<typeof createRedisLimits>>;

/** @returns as soon as Redis has answered, or after a second without it */
export async function createRedisLimits(parts: RedisLimitsParts) {
  const { config, log, metrics, now = () => performance.now() } = parts;
  const instance = randomUUID();
  // one hash tag: in a cluster a script sees the keys of one slot alone
  const keyOf = (kind: string, id: string): string => `{${config.keyPrefix}}:${kind}:${id}`;
  const gatesKey = `{${config.keyPrefix}}:gates`;
  const redis = describeRedis(config);
  let gates = 1;
  let isTold = false;
  let evicts: string | undefined;
  const probe = async (client: RedisClient): Promise<void> => {
    gates = Number(await run(client, REPORT, [gatesKey], [GONE_MS, instance]));
  };
  const link = new RedisLink({
    ...{ config, probe, answerMs: parts.answerMs },
    answered: metrics.redis.answered,
    lost(problem) {
      if (!isTold) log.warn({ redis, problem, gates }, `Redis is away: ${WITHOUT[config.without]}`);
      isTold = true;
    },
    found() {
      void places.renew();
      void link.ask(evictionOf).then((policy) => {
        if (policy !== undefined && policy !== evicts) log.warn({ redis, policy }, `Redis is no safe place: ${EVICTS}`);
        evicts = policy;
      });
    },
  });
  const places = new RedisPlaces({ link, instance, keyOf: (user) => keyOf('places', user) });
  const agreement = createAgreement({ link, key: keyOf('kinds', 'limits'), redis, log });
  const timer = setInterval(() => void report(), REPORT_MS).unref();
  async function report(): Promise<void> {
    await link.ask(probe);
    await agreement.look();
    // Redis may come and go: the log says so once
    if (!isTold || !link.isSteady(REPORT_MS)) return;
    isTold = false;
    log.info({ redis, gates }, 'Redis is back: all gates count their limits together');
  }
  await link.open();
  const warning = () => (evicts === undefined ? agreement.warning() : EVICTS);
  const shared = { config, link, places, keyOf, now, gates: () => gates, without: metrics.redis.without };
  return {
    /** For limits that change while the gate runs; what Redis knows of payers stays. */
    allowancesFor(limits: LimitsConfig): Allowances {
      agreement.use(limits);
      return createAllowances(limits, shared);
    },
    link,
    /** What operators see of it. */
    state: () => ({ redis, gates, without: config.without, problem: link.absence, warning: warning() }),
    async close(): Promise<void> {
      clearInterval(timer);
      places.close();
      await link.ask((client) => client.zrem(gatesKey, instance));
      link.close();
    },
  };
}

const EVICTS =
  'it evicts any key when its memory is full, and limits then begin anew; maxmemory-policy noeviction is safe';

/** @returns the policy by which it evicts counters; a user of few rights may not ask for it */
async function evictionOf(client: RedisClient): Promise<string | undefined> {
  const info = await client.info('memory').catch(() => '');
  return /^maxmemory_policy:(allkeys-\S+)/m.exec(info)?.[1];
}

const WITHOUT = {
  local: 'each gate counts its share of the limits by itself',
  refuse: 'what a limit counts is refused (503)',
  open: 'nothing is limited',
} as const satisfies Record<RedisConfig['without'], string>;

interface AllowancesParts {
  readonly config: RedisConfig;
  readonly link: RedisLink;
  readonly places: RedisPlaces;
  readonly keyOf: (kind: string, id: string) => string;
  readonly now: () => number;
  readonly gates: () => number;
  readonly without: (how: RedisConfig['without']) => void;
}

function createAllowances(limits: LimitsConfig, parts: AllowancesParts): Allowances {
  const { link, places, now } = parts;
  const { rates, counted, refusal, charge, judged } = createCharges(limits, parts);
  const alone = createLonely(limits, parts);
  const most = limits.concurrentChats === 'off' ? undefined : limits.concurrentChats;
  async function takeShared(charges: readonly Charge[]) {
    const at = now();
    const before = await charge(charges);
    return Array.isArray(before) ? judged(charges, before, at) : alone.take(charges);
  }
  function take(all: readonly Charge[]) {
    const charges = counted(all);
    if (charges.length === 0) return undefined;
    if (link.absence !== undefined) return alone.take(charges);
    return refusal(charges) ?? takeShared(charges);
  }
  const startAlone = (user: string, wanted: number, charges: readonly Charge[]): Start =>
    startWith(places.occupyHere(user, wanted, alone.places()), () => alone.take(charges));
  async function startShared(user: string, wanted: number, charges: readonly Charge[], most: number): Promise<Start> {
    const at = now();
    const leases = places.leasesFor(user, wanted);
    const words = [LEASE_MS, most, ...leases.map(({ name }) => name)];
    const before = await charge(charges, { keys: leases.slice(0, 1).map(({ key }) => key), words });
    if (before === null) return {};
    if (Array.isArray(before)) {
      const standing = judged(charges, before, at);
      return standing?.admitted === false ? { standing } : { release: places.hold(user, leases), standing };
    }
    // it may still come to be done
    places.end(leases);
    return startAlone(user, wanted, charges);
  }
  return {
    rates,
    concurrentChats: most,
    take,
    start(user, wanted, all) {
      const charges = counted(all);
      if (most === undefined || wanted < 1) return asStart(take(charges));
      if (link.absence !== undefined) return startAlone(user, wanted, charges);
      const standing = refusal(charges);
      return standing === undefined ? startShared(user, wanted, charges, most) : { standing };
    },
  };
}

interface More {
  readonly keys: readonly string[];
  readonly words: readonly (string | number)[];
}

function createCharges(limits: LimitsConfig, { link, keyOf, now }: AllowancesParts) {
  // of payers that were refused: until they have earned it, they are refused without asking
  const { rates, buckets } = bucketsOf(limits, (name, rate) => new Debts(name, rate));
  return {
    rates,
    counted: (charges: readonly Charge[]) => charges.filter(({ limit }) => buckets[limit] !== undefined),
    /** Of a payer who is known to owe too much. */
    refusal(charges: readonly Charge[]) {
      const at = now();
      const known = judge(buckets, charges, (debts, { key }) => debts.owed(key, at));
      return known?.admitted === false ? known : undefined;
    },
    charge(charges: readonly Charge[], more: More = { keys: [], words: [] }) {
      const keys = charges.map(({ limit, key }) => keyOf(limit, key));
      const words = charges.flatMap(({ limit, cost }) => wordsFor(buckets[limit], cost));
      return link.ask((client) => run(client, CHARGE, [...keys, ...more.keys], [...words, ...more.words]));
    },
    /** @param before what Redis says that each owed @param at when it was asked */
    judged(charges: readonly Charge[], before: readonly unknown[], at: number) {
      const standing = judge(buckets, charges, (_bucket, _charge, place) => Number(before[place]));
      if (standing?.admitted !== false) return standing;
      for (const [place, { limit, key }] of charges.entries()) buckets[limit]?.owe(key, Number(before[place]), at);
      return standing;
    },
  };
}

/** Where places have no limit. */
async function asStart(taken: ReturnType<Allowances['take']>): Promise<Start> {
  const standing = await taken;
  return startWith(
    () => undefined,
    () => standing,
  );
}

const wordsFor = (bucket: Bucket | undefined, cost: number): readonly number[] =>
  bucket === undefined ? [] : [bucket.priceOf(cost), bucket.mostOwed];

/** What a gate does while Redis is away. @throws GatewayError `limits_unavailable` where it is to refuse */
function createLonely(limits: LimitsConfig, { config, gates, now, without: count }: AllowancesParts) {
  const { without } = config;
  let shared = { by: 0, allowances: createMemoryAllowances(limits, now) };
  const share = () => {
    const by = gates();
    if (by !== shared.by) shared = { by, allowances: createMemoryAllowances(shareOf(limits, by), now) };
    return shared.allowances;
  };
  function begin(): void {
    count(without);
    if (without === 'refuse') throw new GatewayError('limits_unavailable');
  }
  return {
    take(charges: readonly Charge[]) {
      begin();
      return without === 'open' ? undefined : share().take(charges);
    },
    /** Of one user at this gate. */
    places(): number {
      begin();
      return without === 'open' ? Infinity : (share().concurrentChats ?? Infinity);
    },
  };
}

/** One at once is left of each. */
function shareOf({ concurrentChats, ...rates }: LimitsConfig, gates: number): LimitsConfig {
  const part = (whole: number): number => Math.max(1, Math.floor(whole / gates));
  const ofRate = (rate: RateLimit | 'off'): RateLimit | 'off' =>
    rate === 'off' ? rate : { ...rate, count: rate.count / gates, burst: part(rate.burst + 1) - 1 };
  // the cast: `Object.fromEntries` forgets the names
  const shares = Object.fromEntries(Object.entries(rates).map(([name, rate]) => [name, ofRate(rate)])) as Record<
    RateName,
    RateLimit | 'off'
  >;
  return { ...shares, concurrentChats: concurrentChats === 'off' ? 'off' : part(concurrentChats) };
}
