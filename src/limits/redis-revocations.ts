/** Which sessions the backend has ended, as it says in its Redis: `is_valid_token` in its `utils/auth.py` (0.6.37 to 0.12.4). */
import type { RedisConfig } from '../config/redis.ts';
import type { Log } from '../telemetry/log.ts';
import { describeRedis, redisProblem } from './redis-client.ts';
import { RedisLink } from './redis-link.ts';

interface EndedSession {
  readonly userId: string;
  readonly jti: string;
  readonly issuedAt: unknown;
}

interface RevocationsParts {
  /** The backend's `REDIS_KEY_PREFIX`. */
  readonly keyPrefix: string;
  readonly log: Pick<Log, 'info' | 'sparingly' | 'warn'>;
}

/** @param link to the backend's Redis */
export function createRevocations(link: Pick<RedisLink, 'ask' | 'absence'>, { keyPrefix, log }: RevocationsParts) {
  let mayRead = true;
  /** A user who may read other keys alone is no reason to count limits without Redis. */
  function unreadable(error: unknown): undefined {
    if (!(error instanceof Error && error.message.startsWith('NOPERM'))) throw error;
    mayRead = false;
    const message = `The gate does not know which sessions the backend has ended: it may not read ${keyPrefix}:auth:* in Redis`;
    log.sparingly('warn', 'revocations', { problem: redisProblem(error) }, message);
  }
  function readable<Found>(found: Found): Found {
    mayRead = true;
    return found;
  }
  return {
    /** Whether nothing can be known of ended sessions now. */
    isBlind: (): boolean => link.absence !== undefined || !mayRead,
    /** Never rejects. @returns false while Redis is away, as in the backend */
    async isRevoked({ userId, jti, issuedAt }: EndedSession): Promise<boolean> {
      // tokens of releases before 0.6.37 have no name; they end with all of the user
      const keys = [`user:${userId}:revoked_at`, ...(jti === '' ? [] : [`token:${jti}:revoked`])];
      // no MGET: in a cluster they have different slots
      const [before, revoked] =
        (await link.ask((client) =>
          Promise.all(keys.map((key) => client.get(`${keyPrefix}:auth:${key}`))).then(readable, unreadable),
        )) ?? [];
      return Boolean(revoked) || (Boolean(before) && isBefore(issuedAt, before ?? ''));
    },
  };
}

/** What was issued at no known time is older than any; texts that are no numbers end nothing. */
function isBefore(issuedAt: unknown, before: string): boolean {
  if (!/^\s*\d+\s*$/.test(before)) return false;
  return issuedAt === undefined || issuedAt === null || (typeof issuedAt === 'number' && issuedAt <= Number(before));
}

/** To a Redis in which no limits are counted. @returns as soon as it has answered, or after a second without it */
export async function linkToRevocations(config: RedisConfig, log: RevocationsParts['log']): Promise<RedisLink> {
  const redis = describeRedis(config);
  let isTold = false;
  const link = new RedisLink({
    config,
    probe: (client) => client.ping().then(() => undefined),
    answered: () => undefined,
    lost(problem) {
      if (!isTold)
        log.warn({ redis, problem }, "The backend's Redis is away: which sessions it has ended is not known");
      isTold = true;
    },
    found() {
      if (isTold) log.info({ redis }, "The backend's Redis is back: sessions that it has ended are known");
      isTold = false;
    },
  });
  await link.open();
  return link;
}
