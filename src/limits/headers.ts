/** draft-ietf-httpapi-ratelimit-headers-10 and OpenAI's: `q` and `w` in the long run, the others at once. */
import type { RateLimit } from '../config/schema.ts';
import type { AnswerEdit } from '../transport/exchange.ts';

export type RateName = 'address' | 'user' | 'chat' | 'organization';
export type Rates = Readonly<Partial<Record<RateName, RateLimit>>>;

/** What is left of one limit for one payer, after a charge that was admitted. */
export interface Standing {
  readonly limit: RateName;
  readonly admitted: boolean;
  readonly remaining: number;
  /** Until one more would be; where the charge was refused, until it would be admitted. */
  readonly moreInMs: number;
  readonly fullInMs: number;
}

const WRITTEN = [
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
];

export const READABLE: readonly string[] = [...WRITTEN, 'retry-after'];

/** Taken out of the backend's answers: what providers say of their limits, all organizations share. */
export const ANNOUNCED: readonly string[] = [
  ...WRITTEN,
  ...['limit', 'remaining', 'reset'].flatMap((word) => [
    `x-ratelimit-${word}-tokens`,
    ...['requests', 'tokens', 'input-tokens', 'output-tokens'].map((what) => `anthropic-ratelimit-${what}-${word}`),
  ]),
];

export function createAnnouncement(rates: Rates): (lines: string[], standing: Standing | undefined) => void {
  // the cast: `Object.entries` promises no more than texts for names
  const texts = new Map(
    (Object.entries(rates) as [RateName, RateLimit][]).map(([name, rate]) => [
      name,
      { start: `"${name}";r=`, policy: policyOf(name, rate), limit: String(rate.burst + 1) },
    ]),
  );
  return function announce(lines, standing) {
    const text = standing === undefined ? undefined : texts.get(standing.limit);
    if (standing === undefined || text === undefined) return;
    const seconds = Math.ceil(standing.moreInMs / 1000);
    lines.push('ratelimit', `${text.start}${standing.remaining};t=${seconds}`, 'ratelimit-policy', text.policy);
    lines.push('x-ratelimit-limit-requests', text.limit);
    lines.push('x-ratelimit-remaining-requests', String(standing.remaining));
    lines.push('x-ratelimit-reset-requests', shortDuration(standing.fullInMs));
    if (!standing.admitted) lines.push('retry-after', String(Math.max(1, seconds)));
  };
}

/** When a place gets free is not known; a client that waits this long does not crowd those who are served. */
const PLACE_RETRY_SECONDS = 2;

export function announceNoPlace(places: number): AnswerEdit {
  const policy = `"concurrent-chats";q=${places};qu="concurrent-requests"`;
  const retry = ['retry-after', String(PLACE_RETRY_SECONDS)];
  return (lines) => void lines.push('ratelimit', '"concurrent-chats";r=0', 'ratelimit-policy', policy, ...retry);
}

/** The draft has no word for a burst; a parameter that it does not know carries the name of its maker. */
function policyOf(name: RateName, { count, windowSeconds, burst }: RateLimit): string {
  const policy = `"${name}";q=${count};w=${windowSeconds}`;
  return burst === count - 1 ? policy : `${policy};modelgate-burst=${burst}`;
}

/** As OpenAI spells it, which is Go's: `350ms`, `12.5s`, `6m0s`. */
function shortDuration(ms: number): string {
  const whole = Math.ceil(ms);
  if (whole < 1000) return `${whole}ms`;
  if (whole < 60_000) return `${whole / 1000}s`;
  const seconds = Math.ceil(whole / 1000);
  const minutes = Math.floor(seconds / 60);
  return `${minutes < 60 ? '' : `${Math.floor(minutes / 60)}h`}${minutes % 60}m${seconds % 60}s`;
}
