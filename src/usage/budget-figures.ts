/** How far the budgets of organizations are used up, for the figures of a gate. */
import { budgetsAt } from '../policy/budget.ts';
import type { Store } from '../store/store.ts';
import type { Ledger } from './ledger.ts';

interface FigureParts {
  readonly store: Pick<Store, 'ask' | 'current'>;
  readonly ledger: Pick<Ledger, 'uses'>;
  /** Of budgets that name none. */
  readonly timeZone: string;
}

/** Each is three series. */
const MOST_BUDGETS = 1_000;

/**
 * @returns what reads the budgets of whole organizations that count now, what they allow and what is used, in their
 *   measure; none where the database cannot be read, no use where the ledger cannot. Those of each user or of some models
 *   are left out: no label is a user, and sums would count the same calls twice
 */
export function createBudgetFigures({ store, ledger, timeZone }: FigureParts) {
  return async function readBudgets() {
    const now = Date.now();
    const stored = await Promise.resolve()
      .then(() => store.ask(() => store.current().allBudgets()))
      .catch(() => []);
    const counting = budgetsAt(stored, now).filter(({ scope }) => scope.kind === 'organization');
    const budgets = counting.slice(0, MOST_BUDGETS);
    const uses = budgets.length === 0 ? [] : await ledger.uses(budgets, timeZone, now);
    return budgets.map(({ organization, measure, period, amount: limit }, at) => ({
      ...{ organization, measure, period, limit, used: uses?.[at] },
    }));
  };
}
