/** Whether all gates that count together have the same limits: what one of them has counted, one with lower ones forgets. */
import type { LimitsConfig } from '../config/schema.ts';
import type { Log } from '../telemetry/log.ts';
import type { RedisLink } from './redis-link.ts';
import { REPORT, run } from './redis-scripts.ts';

/** What a gate said that has gone counts for so long. */
const GONE_MS = 15_000;
/** Each five seconds: gates that read their settings anew, all at once, differ for a moment. */
const LOOKS = 4;

interface AgreementParts {
  readonly link: Pick<RedisLink, 'ask'>;
  readonly key: string;
  /** Of Redis, for the log. */
  readonly redis: string;
  readonly log: Pick<Log, 'warn'>;
}

export function createAgreement({ link, key, redis, log }: AgreementParts) {
  let own = '';
  let differing = 0;
  return {
    /** What is in force at this gate from now on. */
    use(limits: LimitsConfig): void {
      own = JSON.stringify(limits);
    },
    /** Says what this gate has, and looks how many kinds there are. */
    async look(): Promise<void> {
      const kinds = await link.ask((client) => run(client, REPORT, [key], [GONE_MS, own]));
      // while Redis is away, nothing is known of the others
      if (kinds === undefined) return;
      differing = Number(kinds) > 1 ? differing + 1 : 0;
      if (differing === LOOKS) log.warn({ redis }, `Limits are not counted right: ${DIFFER}`);
    },
    warning: () => (differing < LOOKS ? undefined : DIFFER),
  };
}

const DIFFER =
  'gates of the same MODELGATE_REDIS_KEY_PREFIX have other limits (MODELGATE_LIMIT_…), and forget what this one has counted; give all the same';
