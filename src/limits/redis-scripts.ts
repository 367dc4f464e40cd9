/** What runs inside of Redis: each script is one step for all gates, and has Redis's clock. From Redis 6.2 on. */
import { createHash } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';

export type RedisClient = Redis | Cluster;

interface Script {
  readonly text: string;
  readonly sha: string;
}

const script = (text: string): Script => ({ text, sha: createHash('sha1').update(text).digest('hex') });

/**
 * KEYS: buckets, and at the end the places of a user where some are wanted. ARGV: for each bucket its price and its largest
 * debt; then the milliseconds of a lease, the limit of places, a name for each. The value of a bucket is a debt in milliseconds
 * and the microsecond for which it was true: a point of time in milliseconds would leave too few digits for the debt.
 * @returns what each bucket owed before, as text, or nothing where there is no place; taken where all is covered, else nothing is
 */
export const CHARGE = script(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function keep(key, debt)
  redis.call('SET', key, string.format('%.17g %.0f', debt, now), 'PX', string.format('%.0f', math.ceil(debt) + 1))
end
local buckets, places = #KEYS, nil
if #ARGV > 2 * #KEYS then
  buckets, places = #KEYS - 1, KEYS[#KEYS]
  redis.call('ZREMRANGEBYSCORE', places, '-inf', string.format('%.0f', now / 1000))
  if redis.call('ZCARD', places) + #ARGV - 2 * #KEYS > tonumber(ARGV[2 * #KEYS]) then return false end
end
local owed, covered = {}, true
for i = 1, buckets do
  local key = KEYS[i]
  local debt, at = string.match(redis.call('GET', key) or '0 0', '^(%S+) (%d+)$')
  debt, at = tonumber(debt) or 0, tonumber(at) or 0
  local most = tonumber(ARGV[2 * i])
  if debt > most then debt = most end
  if at > now then
    at = now
    keep(key, debt)
  end
  owed[i] = math.max(0, debt - (now - at) / 1000)
  covered = covered and owed[i] + ARGV[2 * i - 1] <= most
end
local before = {}
for i = 1, buckets do
  before[i] = string.format('%.17g', owed[i])
  if covered then keep(KEYS[i], owed[i] + ARGV[2 * i - 1]) end
end
if places and covered then
  local lease = ARGV[2 * #KEYS - 1]
  for i = 2 * #KEYS + 1, #ARGV do
    redis.call('ZADD', places, string.format('%.0f', now / 1000 + lease), ARGV[i])
  end
  redis.call('PEXPIRE', places, lease)
end
return before
`);

const ENDS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + ARGV[1])
`;

/** KEYS: for each place those of its user. ARGV: milliseconds of a lease, the names. What Redis has lost is there again. */
export const RENEW = script(`${ENDS}
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, ends, ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
`);

/** KEYS: the gates. ARGV: milliseconds until a silent one counts as gone, the name of this one. @returns how many live */
export const REPORT = script(`${ENDS}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], ends, ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('ZCARD', KEYS[1])
`);

/** By its digest; with its text once where Redis does not know it, after a restart. */
export async function run(
  client: RedisClient,
  { text, sha }: Script,
  keys: readonly string[],
  words: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await client.evalsha(sha, keys.length, ...keys, ...words);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return client.eval(text, keys.length, ...keys, ...words);
  }
}
