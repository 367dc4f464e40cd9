/**
 * What the stages ask of the counter of requests. `memory.ts` counts in this process; a counter that several replicas
 * share gives the same answers and may take its time: a promise is awaited, a plain answer is not.
 */
import type { RateLimit } from '../config/schema.ts';

export type RateName = 'address' | 'user' | 'chat' | 'organization';

/** The word for a limit in header fields, metrics and the log. */
export type LimitName = RateName | 'concurrent-chats';

/** One request, as one limit sees it. */
export interface Charge {
  readonly limit: RateName;
  /** Who pays: a user's id, an address, an organization's id. */
  readonly key: string;
  /** How many requests it counts as; more than a limit ever has at once count as all that it has. */
  readonly cost: number;
}

/** What is left of one limit for one payer, after the charge if it was admitted. */
export interface Standing {
  readonly limit: RateName;
  readonly admitted: boolean;
  /** Requests that would be admitted at once. */
  readonly remaining: number;
  /** Until one more than `remaining` would be; where the charge was refused, until it would be admitted. */
  readonly moreInMs: number;
  /** Until all that there can be is there again. */
  readonly fullInMs: number;
}

export type Release = () => void;

export interface Allowances {
  /** The limits that are on. */
  readonly rates: Readonly<Partial<Record<RateName, RateLimit>>>;
  /** Undefined: no limit. */
  readonly concurrentChats: number | undefined;
  /**
   * Takes all of the charges or none: what is refused costs nothing, as in nginx.
   * @returns the standing of the limit that refused (the longest wait, if several did), or else of the one that has
   *   least left; undefined where no limit applies
   */
  take(charges: readonly Charge[]): Standing | undefined | Promise<Standing | undefined>;
  /**
   * Takes so many of the places that a user has for models that run at the same time, or none.
   * @returns what gives them back, once, however often it is called; undefined where too few are free
   */
  occupy(user: string, places: number): Release | undefined | Promise<Release | undefined>;
}
