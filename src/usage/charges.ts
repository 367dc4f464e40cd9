/** What budgets say of one call. Pure. */
import type { Budget } from '../policy/budget.ts';
import { periodOf } from '../policy/period.ts';
import type { Call, Charge } from './call.ts';
import { NANO } from './usage.ts';

type Counted = Pick<Call, 'user' | 'model' | 'startedAt'>;

/** @param timeZone of budgets that name none @returns the budgets that count the call, each in the period of its start */
export function chargesOf(budgets: readonly Budget[], call: Counted, timeZone: string): readonly Charge[] {
  return budgets.filter((budget) => counts(budget, call)).map((budget) => chargeOf(budget, call, timeZone));
}

function counts({ scope }: Budget, { user, model }: Counted): boolean {
  if (scope.kind !== 'model') return scope.kind === 'organization' || user !== '';
  const { pattern } = scope;
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : model === pattern;
}

/** How many of what the ledger counts are one of what a budget says. */
export const unitOf = ({ measure }: Pick<Budget, 'measure'>): number => (measure === 'usd' ? NANO : 1);

function chargeOf(budget: Budget, { user, startedAt }: Counted, otherwise: string): Charge {
  const { id, measure, period, scope, softPercent, isHard, timeZone = otherwise } = budget;
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
