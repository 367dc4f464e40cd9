/** What budgets say of one call. Pure. */
import type { Budget } from '../policy/budget.ts';
import { covers } from '../policy/grant.ts';
import { periodOf } from '../policy/period.ts';
import type { Call, Charge } from './call.ts';
import { NANO } from './usage.ts';

type Counted = Pick<Call, 'user' | 'model' | 'startedAt'>;

/** Does the budget count the call? */
export const counts = ({ scope }: Budget, { user, model }: Pick<Counted, 'user' | 'model'>): boolean =>
  scope.kind === 'model' ? covers(scope.pattern, model) : scope.kind === 'organization' || user !== '';

/**
 * @param models that may run @param timeZone of budgets that name none
 * @returns the budgets that count the call with any of them, each in the period of its start
 */
export const chargesOf = (
  budgets: readonly Budget[],
  { user, startedAt }: Omit<Counted, 'model'>,
  models: readonly string[],
  timeZone: string,
): readonly Charge[] =>
  budgets
    .filter((budget) => models.some((model) => counts(budget, { user, model })))
    .map((budget) => chargeOf(budget, { user, startedAt }, timeZone));

/** How many of what the ledger counts are one of what a budget says. */
export const unitOf = ({ measure }: Pick<Budget, 'measure'>): number => (measure === 'usd' ? NANO : 1);

/** What a budget that counts a call says of it. */
export function chargeOf(budget: Budget, { user, startedAt }: Omit<Counted, 'model'>, defaultZone: string): Charge {
  const { id, measure, period, scope, softPercent, isHard, timeZone = defaultZone } = budget;
  const amount = Math.round(budget.amount * unitOf(budget));
  const { from, to } = periodOf(period, timeZone, startedAt);
  return {
    budget: id,
    ...{ measure, amount, isHard },
    softAt: softPercent === undefined ? undefined : Math.ceil((amount * softPercent) / 100),
    periodStart: from,
    periodEnd: to,
    user: scope.kind === 'user' ? user : '',
    pattern: scope.kind === 'model' ? scope.pattern : '*',
  };
}
