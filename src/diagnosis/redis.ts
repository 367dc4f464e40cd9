/** Whether the Redis that counts the limits can be relied on, and that in which the backend ends sessions. */
import { asSize } from '../backend-file/text.ts';
import type { RedisConfig } from '../config/redis.ts';
import { type RedisInspection, inspectRedis, inspectRevocations } from '../limits/redis-inspection.ts';
import { type Verdict, ok, problem, unknown, warning } from './finding.ts';

/** A question that takes longer than half of what the gate waits for is often late. */
const SLOW_MS = 10;
const LARGEST_SKEW_MS = 5_000;
const OLDEST = [6, 2] as const;

/** @returns what there is to say of it; never rejects */
export async function checkRedis(config: RedisConfig, stop: AbortSignal): Promise<readonly Verdict[]> {
  const { address, problem: trouble, facts } = await inspectRedis(config, stop);
  if (facts === undefined) {
    const finding = `${address} cannot be used: ${trouble}. Limits are not counted together (MODELGATE_LIMITS_WITHOUT_REDIS=${config.without}).`;
    return [
      problem(finding, 'Look at MODELGATE_REDIS_URL (or REDIS_URL), its user and password, and whether Redis runs.'),
    ];
  }
  const faults = [
    checkVersion(address, facts),
    checkRole(address, facts),
    checkMemory(address, facts),
    checkLatency(address, facts),
    checkClock(address, facts),
  ].filter((verdict) => verdict !== undefined);
  if (faults.length > 0) return faults;
  const latency = `${facts.latencyMs.toFixed(1)} ms`;
  return [
    ok(
      `${address} is Redis ${facts.version}, a master that evicts no counter; it runs the script and answers within ${latency}.`,
    ),
  ];
}

/** @param keyPrefix the backend's @returns what there is to say of it; never rejects */
export async function checkRevocations(config: RedisConfig, keyPrefix: string, stop: AbortSignal): Promise<Verdict> {
  const { address, problem: trouble } = await inspectRevocations(config, keyPrefix, stop);
  if (trouble === undefined) return ok(`${address} says which sessions the backend has ended one by one.`);
  const finding = `${address} does not say which sessions the backend has ended one by one: ${trouble}. Meanwhile the gate takes them.`;
  return warning(finding, `Look at REDIS_URL, whether its user may GET ${keyPrefix}:auth:*, and whether Redis runs.`);
}

type Facts = NonNullable<RedisInspection['facts']>;

function checkVersion(address: string, { version }: Facts): Verdict | undefined {
  if (version === undefined) {
    return unknown(
      `${address} does not say its version and its memory policy to this user; it runs the script.`,
      'Let the user run INFO, or see with another that it is 6.2 or later and that maxmemory-policy is noeviction.',
    );
  }
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined;
  return problem(`${address} is Redis ${version}, which is too old.`, 'Upgrade it to 6.2 or later, or to Valkey.');
}

const checkRole = (address: string, { role = 'master' }: Facts): Verdict | undefined =>
  role === 'master'
    ? undefined
    : problem(
        `${address} is a replica: nothing can be counted there.`,
        'Name the master, or the Sentinels that know it (REDIS_SENTINEL_HOSTS).',
      );

function checkMemory(address: string, { memoryPolicy = 'noeviction', memoryBytes }: Facts): Verdict | undefined {
  const remedy = 'Set maxmemory-policy to noeviction, or give the limits a Redis of their own.';
  const most =
    memoryBytes === 0 ? 'where the memory of its container ends' : `when its ${asSize(memoryBytes)} are full`;
  if (memoryPolicy.startsWith('allkeys-')) {
    const finding = `${address} evicts any key (maxmemory-policy ${memoryPolicy}) ${most}: limits then begin anew without a word.`;
    return problem(finding, remedy);
  }
  if (memoryPolicy === 'noeviction') return undefined;
  const finding = `${address} evicts keys that expire (maxmemory-policy ${memoryPolicy}) ${most}, and all counters of limits do.`;
  return warning(finding, remedy);
}

function checkLatency(address: string, { latencyMs }: Facts): Verdict | undefined {
  if (latencyMs <= SLOW_MS) return undefined;
  const finding = `${address} takes ${latencyMs.toFixed(1)} ms for an answer, and each request waits for it; after 50 ms the gate goes on without it.`;
  return warning(finding, 'Use a Redis that is nearer to the gate, or look at its slow log (SLOWLOG GET).');
}

/** Limits have its clock; a difference shows one that is not kept. */
function checkClock(address: string, { aheadMs }: Facts): Verdict | undefined {
  if (Math.abs(aheadMs) <= LARGEST_SKEW_MS) return undefined;
  const off = `${Math.round(Math.abs(aheadMs) / 1000).toLocaleString('en')} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
  return warning(
    `The clock of ${address} is ${off} this machine's: when it is set right, limits wait or begin anew.`,
    'Let both machines keep time by NTP (timedatectl set-ntp true).',
  );
}
