/** How much an organization may use. Pure. */
import { type Period, describeMoment, nameOfPeriod, periodOf } from './period.ts';
import type { OrganizationId } from './principal.ts';

export const BUDGET_MEASURES = ['usd', 'tokens', 'requests'] as const;

export interface Budget {
  readonly id: string;
  readonly organization: OrganizationId;
  /** In US dollars, tokens or requests; `amount` too. */
  readonly measure: (typeof BUDGET_MEASURES)[number];
  /** With what it was raised by, where that is still valid at the time of the question. */
  readonly amount: number;
  /** By the calendar of its time zone. A week begins on Monday. */
  readonly period: Period;
  /** All together, each user by itself, or the models of one pattern: an id, or a prefix that ends in `*`. */
  readonly scope: { readonly kind: 'organization' | 'user' } | { readonly kind: 'model'; readonly pattern: string };
  /** Share of the amount at which it is said once; undefined where it never is. */
  readonly softPercent: number | undefined;
  /** Does it refuse? */
  readonly isHard: boolean;
  /** IANA; undefined where `MODELGATE_TIME_ZONE` counts. */
  readonly timeZone: string | undefined;
}

/** A budget as it is stored: it may count at another time. Moments are milliseconds UTC, the ends are not in it. */
export interface StoredBudget extends Budget {
  readonly raise: { readonly amount: number; readonly until: number };
  readonly validFrom: number;
  readonly validTo: number;
}

/** @returns those that count at this moment, raised as they are then */
export const budgetsAt = (stored: readonly StoredBudget[], at: number): readonly Budget[] =>
  stored
    .filter(({ validFrom, validTo }) => validFrom <= at && at < validTo)
    .map((budget) =>
      at < budget.raise.until ? { ...budget, amount: sum(budget.amount, budget.raise.amount) } : budget,
    );

/** To the nano-USD: 0.1 and 0.2 are 0.3. */
const sum = (amount: number, raise: number): number => Number((amount + raise).toFixed(9));

/**
 * @param name of the organization
 * @param defaultZone for a budget without a time zone
 * @returns two sentences for the person whom it refuses: that it is used up, and when it begins again. No other figure is in them
 */
export function describeUsedUp(budget: Budget, name: string, defaultZone: string, at: number): string {
  const { period, scope, timeZone = defaultZone } = budget;
  const { from, to } = periodOf(period, timeZone, at);
  const when = nameOfPeriod(period, timeZone, from);
  const which = scope.kind === 'model' ? ` for ${scope.pattern}` : '';
  const during = when === undefined ? '' : ` ${which === '' ? 'for' : period === 'day' ? 'on' : 'in'} ${when}`;
  const who = scope.kind === 'user' ? 'You have used your budget' : `${name} has used its budget`;
  const again = when === undefined ? 'does not begin again' : `begins again on ${describeMoment(timeZone, to)}`;
  return `${who}${which}${during} (${describeAmount(budget)}). It ${again}.`;
}

/** Of a header on answers. @param used in the measure of the budget @returns such as `month;usd=50;used=41.5` */
export const asField = ({ period, measure, amount }: Budget, used: number): string =>
  `${period};${measure}=${amount};used=${used}`;

/** @returns such as `50.00 USD`, `1,000,000 tokens`, `1 request` */
export function describeAmount({ measure, amount }: Pick<Budget, 'measure' | 'amount'>): string {
  if (measure === 'usd') return `${amount.toLocaleString('en', IN_CENTS)} USD`;
  return `${amount.toLocaleString('en')} ${amount === 1 ? measure.slice(0, -1) : measure}`;
}

/** What is less than a cent is shown to the nano-USD. */
const IN_CENTS = { minimumFractionDigits: 2, maximumFractionDigits: 9 };
