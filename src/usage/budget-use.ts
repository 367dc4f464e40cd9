/** How much of a budget is used in the period that runs, for people who look at it. */
import type { Budget } from '../policy/budget.ts';
import type { Connection } from '../store/database.ts';
import { createBudgetReader } from './budget-states.ts';
import { chargesOf, unitOf } from './charges.ts';

/** Amounts in the measure of the budget, as in `Budget`. */
interface BudgetUse {
  /** Of a budget for each user, the one who has used most: the figures are that user's. */
  readonly user: string | undefined;
  readonly spent: number;
  readonly reserved: number;
}

/** @param connection to a ledger, which need not be writable @param timeZone of budgets that name none */
export function createBudgetUse(connection: Connection, timeZone: string, at: number) {
  const { state, mostOf } = createBudgetReader(connection);
  return (budget: Budget): BudgetUse => {
    const { organization, scope } = budget;
    // of a call that it counts: a pattern covers itself, and the period of each user is the same
    const counted = { user: 'each', model: scope.kind === 'model' ? scope.pattern : '', startedAt: at };
    const [charge] = chargesOf([budget], counted, timeZone);
    if (charge === undefined) return UNUSED;
    const user = scope.kind === 'user' ? mostOf(organization, charge) : undefined;
    const { spent, reserved } = state(organization, user === undefined ? charge : { ...charge, user });
    const unit = unitOf(budget);
    return { user, spent: spent / unit, reserved: reserved / unit };
  };
}

const UNUSED: BudgetUse = { user: undefined, spent: 0, reserved: 0 };
