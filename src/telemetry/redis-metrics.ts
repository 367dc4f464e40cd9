/** How the gate gets on with Redis, in figures. */
import { LATENCY, createCounter, createHistogram } from './figures.ts';

export interface RedisState {
  /** Undefined where this process counts the limits by itself. */
  readonly redis?: () => { readonly gates: number; readonly problem: object | undefined } | undefined;
  /** Undefined where the backend ends no sessions in a Redis. */
  readonly revocations?: () => { readonly isBlind: () => boolean } | undefined;
}

export const createRedisFigures = () => ({
  without: createCounter(
    'limits_without_redis_total{how} Times that a limit counted while Redis was away: by the share of this gate (local), refused, or not at all (open).',
  ),
  answered: createHistogram('redis_duration_seconds From a question to Redis to its answer.', LATENCY),
});

/** @param gauge makes one of a name with its help, and of what is read at each look */
export function addRedisGauges(
  gauge: (series: string, read: () => number | boolean) => unknown,
  { redis, revocations }: RedisState,
): void {
  gauge(
    'redis_problem 1 if Redis does not answer: each gate counts the limits by itself, refuses, or limits nothing.',
    () => redis?.()?.problem !== undefined,
  );
  gauge(
    "revocations_problem 1 if the backend's Redis does not say which sessions it has ended one by one: the gate takes them.",
    () => revocations?.()?.isBlind() ?? false,
  );
  gauge('live_gates Gates that count their limits in one Redis; 1 without Redis.', () => redis?.()?.gates ?? 1);
}
