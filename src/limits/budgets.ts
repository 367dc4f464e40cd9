/** At the front door a chat whose budget is used up is refused before the backend has stored anything of it. */
import type { Decision } from '../policy/decision.ts';
import { provedUser } from '../policy/principal.ts';
import type { Stage } from '../stage.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { createAdmissions } from '../usage/admission.ts';
import type { Ledger } from '../usage/ledger.ts';
import type { LimitsScope } from './limits.ts';

interface BudgetParts<Scope> {
  readonly ledger: Pick<Ledger, 'usedUp'>;
  readonly admissions: ReturnType<typeof createAdmissions>;
  readonly metrics: Pick<Metrics, 'usage'>;
  readonly runsModel: (scope: Scope) => boolean;
}

type BudgetScope = LimitsScope & { readonly decision: Decision | undefined };

/** Nothing is reserved here: the call itself does that at the provider door. */
export function refuseUsedUp<Scope extends BudgetScope>(parts: BudgetParts<Scope>): Stage<Scope> {
  return async function refuseUsedUp(c, next) {
    const scope = c.get('scope');
    const { decision } = scope;
    if (decision?.effect === 'permit' && parts.runsModel(scope)) await check(scope, decision, parts);
    return next();
  };
}

async function check<Scope extends BudgetScope>(
  scope: Scope,
  decision: Extract<Decision, { effect: 'permit' }>,
  { ledger, admissions, metrics }: BudgetParts<Scope>,
): Promise<void> {
  const { principal, runsByOrganization } = scope;
  const payers = runsByOrganization?.keys() ?? (decision.grant === undefined ? [] : [decision.grant.organization]);
  const counted = {
    user: provedUser(principal) ?? '',
    model: decision.chain.at(-1) ?? decision.model,
    startedAt: Date.now(),
  };
  for (const organization of payers) {
    const { charges, budgets } = await admissions.chargesFor({ ...counted, organization });
    if (charges.length === 0) continue;
    const { budget: used, nearing = [] } = (await ledger.usedUp(organization, counted.model, charges)) ?? {};
    scope.answerEdits = [...scope.answerEdits, ...admissions.editsOf(nearing, budgets)];
    if (used === undefined) continue;
    metrics.usage.refused(organization);
    const refusal = { because: 'budget_exceeded', budget: used } as const;
    throw await admissions.refusalOf(refusal, budgets, counted.startedAt);
  }
}
