/** How much an organization may use. Pure. */
import type { OrganizationId } from './principal.ts';

export interface Budget {
  readonly id: string;
  readonly organization: OrganizationId;
  /** In US dollars, tokens or requests; `amount` too. */
  readonly measure: 'usd' | 'tokens' | 'requests';
  /** With what it was raised by, where that is still valid at the time of the question. */
  readonly amount: number;
  /** By the calendar of its time zone. A week begins on Monday. */
  readonly period: 'day' | 'week' | 'month' | 'total';
  /** All together, each user by itself, or the models of one pattern: an id, or a prefix that ends in `*`. */
  readonly scope: { readonly kind: 'organization' | 'user' } | { readonly kind: 'model'; readonly pattern: string };
  /** Share of the amount at which it is said once; undefined where it never is. */
  readonly softPercent: number | undefined;
  /** Does it refuse? */
  readonly isHard: boolean;
  /** IANA; undefined where `MODELGATE_TIME_ZONE` counts. */
  readonly timeZone: string | undefined;
}
