/** What the door would decide of a user's chat before there is one. The code that decides is asked. */
import { createJudge } from '../enforcement/judge.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import type { ModelId } from '../policy/grant.ts';
import type { StoreView } from '../store/store-view.ts';
import { judgeCall, prefixesOf } from './decide.ts';
import type { Provider } from './scope.ts';

interface ForesightParts {
  /** Settings of the decision, as the door has them. */
  readonly policy: Parameters<typeof createJudge>[0];
  readonly serviceModels: Parameters<typeof judgeCall>[0]['serviceModels'];
  readonly provider: Pick<Provider, 'url' | 'prefix'>;
}

/** @param model as the provider is asked for it @returns the decision, who would pay, and the id in the backend's lists */
export function foresee(
  { policy, serviceModels, provider }: ForesightParts,
  view: StoreView,
  user: UserPrincipal,
  model: ModelId,
) {
  const call = {
    endpoint: { kind: 'runs', dialect: 'openai' } as const,
    prefixes: prefixesOf(provider, view),
    models: [model],
    asked: undefined,
  };
  const { decision, payer, listed } = judgeCall({ judge: createJudge(policy), serviceModels }, view, user, call);
  return { decision, payer, listed: listed[0]?.listed ?? model };
}
