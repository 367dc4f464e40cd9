/** What the budgets of the payer say of a call, at both doors. */
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import { type Budget, asField, budgetsAt, describeUsedUp } from '../policy/budget.ts';
import { toOrganizationId } from '../policy/principal.ts';
import type { Store } from '../store/store.ts';
import type { AnswerEdit } from '../transport/exchange.ts';
import type { Call, Charge, Nearing, Refusal, Reserve } from './call.ts';
import { chargesOf, unitOf } from './charges.ts';

interface BudgetOptions {
  readonly store: Pick<Store, 'askOn' | 'current' | 'patiently'>;
  /** In `report` mode nothing is refused, and all is counted. */
  readonly mode: 'enforce' | 'report';
  readonly reserve: Reserve;
  /** Of models without a price on a hard budget of money. */
  readonly unpriced: 'refuse' | 'allow';
  /** Of budgets that name none. */
  readonly timeZone: string;
}

/** By what a budget counts a call. */
type Counted = Pick<Call, 'organization' | 'user' | 'model' | 'startedAt'>;

export function createAdmissions({ store, mode, reserve, unpriced, timeZone }: BudgetOptions) {
  async function storedBudgets(organization: string) {
    const read = () => store.current().budgetsOf(toOrganizationId(organization));
    try {
      return await store.patiently(() => store.askOn(read));
    } catch (error) {
      if (mode === 'report' && isPolicyUnavailable(error)) return [];
      throw error;
    }
  }

  return {
    /** @param others that may run in the place of the model @returns what is charged, and the budgets behind it */
    async chargesFor(
      call: Counted,
      others: readonly { readonly listed: string }[] = [],
    ): Promise<{ charges: readonly Charge[]; budgets: readonly Budget[] }> {
      const { organization, startedAt } = call;
      if (organization === '') return { charges: [], budgets: [] };
      const budgets = budgetsAt(await storedBudgets(organization), startedAt);
      const models = [call.model, ...others.map(({ listed }) => listed)];
      const charges = chargesOf(budgets, call, models, timeZone);
      const asked = mode === 'report' ? charges.map((charge) => ({ ...charge, isHard: false })) : charges;
      return { charges: asked, budgets };
    },
    /** @returns what adds a header line with the budgets that are at their soft share; none where none is */
    editsOf(nearing: readonly Nearing[], budgets: readonly Budget[]): readonly AnswerEdit[] {
      const fields = nearing.flatMap(({ budget: id, used }) =>
        budgets.filter((budget) => budget.id === id).map((budget) => asField(budget, used / unitOf(budget))),
      );
      return fields.length === 0 ? [] : [(answer) => void answer.push('x-modelgate-budget', fields.join(', '))];
    },
    rules: { reserve, allowsUnpriced: unpriced === 'allow' },
    /** @param budgets of `chargesFor` @returns the refusal in words for the person who asked */
    async refusalOf(
      { because, budget: id }: Pick<Refusal, 'because' | 'budget'>,
      budgets: readonly Budget[],
      startedAt: number,
    ) {
      const budget = budgets.find((one) => one.id === id);
      if (because !== 'budget_exceeded' || budget === undefined) return new GatewayError(because);
      const nameOf = () => store.current().organizationName(budget.organization);
      const name = await store.patiently(() => store.askOn(nameOf));
      return new GatewayError(because, { detail: describeUsedUp(budget, name, timeZone, startedAt) });
    },
  };
}
