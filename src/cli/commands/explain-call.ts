/** `modelgate explain --door provider`: what the provider door would say of a call, and who would pay for it. */
import { OperationFailure } from '../../backend-file/failure.ts';
import { quoted, quotedFew } from '../../backend-file/text.ts';
import type { Config } from '../../config/schema.ts';
import { askingAs, unenforced } from '../../organizations/explanation.ts';
import { type Budget, budgetsAt, describeAmount } from '../../policy/budget.ts';
import { REASONS } from '../../policy/decision.ts';
import { parseModelId } from '../../policy/grant.ts';
import { foresee } from '../../provider-door/foresight.ts';
import { createBudgetReader } from '../../usage/budget-states.ts';
import type { Charge } from '../../usage/call.ts';
import { chargesOf } from '../../usage/charges.ts';
import { createPriceBook } from '../../usage/price-book.ts';
import { NANO } from '../../usage/usage.ts';
import { readingLedger } from '../ledger.ts';
import { type DatabaseOptions, contextOn, environmentWith, requireConfig } from '../options.ts';
import type { Fact } from '../report.ts';
import { type Terminal, misused } from '../terminal.ts';

type CallOptions = DatabaseOptions & { readonly provider?: string };

export async function explainCall(named: string, id: string | undefined, options: CallOptions, terminal: Terminal) {
  const model = parseModelId(id);
  if (model === undefined) throw misused(id === undefined ? WHICH_MODEL : `${quoted(id)} cannot be the id of a model.`);
  const environment = environmentWith(terminal, options.database);
  const { config } = requireConfig({ ...terminal, environment }, options.config);
  if (config.provider === undefined || config.usage === undefined) throw misused(NO_DOOR);
  const { serviceModels, providers } = config.provider;
  const provider = chooseProvider(providers, options.provider);
  const { operation, policy } = contextOn(config, terminal, options);
  const startedAt = Date.now();
  const { timeZone, path, unpriced } = config.usage;
  const { user, answer } = await askingAs(operation, named, policy, (view, principal) => {
    const seen = foresee({ policy: config.policy, serviceModels, provider }, view, principal, model);
    const { payer, listed } = seen;
    const stored = payer === undefined ? [] : budgetsAt(view.budgetsOf(payer), startedAt);
    const charged = stored.flatMap((budget) =>
      chargesOf([budget], { user: principal.id, model: listed, startedAt }, timeZone).map((charge) => ({
        budget,
        charge,
      })),
    );
    return { ...seen, charged };
  });
  const { decision, payer, listed, charged } = answer;
  const ledger = await readLedger({ ...operation, path }, provider.url.host, model, charged, startedAt);
  const record = {
    door: 'provider',
    decision: decision.effect,
    reason: decision.reason,
    meaning: REASONS[decision.reason].meaning,
    user,
    provider: provider.url.host,
    model,
    listed,
    grant: decision.effect === 'permit' ? (decision.grant ?? null) : null,
    chain: decision.chain,
    organization: payer ?? null,
    budgets: charged.map(({ budget }, at) => toRecord(budget, ledger.uses?.[at])),
    price_known: ledger.isPriced ?? null,
    ledger_problem: ledger.problem ?? null,
    not_enforced: unenforced(policy, decision.effect),
  };
  return { record, facts: factsOf(record, unpriced) };
}

const WHICH_MODEL = 'Which model? Name it with --model, as the provider is asked for it.';
const NO_DOOR = 'There is no provider door: MODELGATE_PROVIDER_PORT is not set.';

type Door = NonNullable<Config['provider']>;

function chooseProvider(providers: Door['providers'], host: string | undefined): Door['providers'][number] {
  const hosts = providers.map(({ url }) => url.host);
  const found = providers.filter(({ url }) => host === undefined || url.host === host.toLowerCase());
  const [first, ...more] = found;
  if (first !== undefined && (host !== undefined || more.length === 0)) return first;
  const which = host === undefined ? 'Which provider?' : `${quoted(host)} is no host of MODELGATE_PROVIDERS.`;
  throw misused(`${which} Name one with --provider: ${quotedFew(hosts, 10)}.`);
}

interface Charged {
  readonly budget: Budget;
  readonly charge: Charge;
}

type Found = Readonly<{ uses?: readonly Use[]; isPriced?: boolean; problem?: string }>;
type Use = Readonly<Record<'spent' | 'reserved', number>>;

/** @returns what the ledger says; why not, where it cannot be read */
async function readLedger(
  ledger: Parameters<typeof readingLedger>[0],
  host: string,
  model: string,
  charged: readonly Charged[],
  at: number,
): Promise<Found> {
  try {
    return await readingLedger(ledger, (connection) => {
      const { state } = createBudgetReader(connection);
      return {
        isPriced: createPriceBook(connection).find(host, model, at) !== undefined,
        uses: charged.map(({ budget, charge }) => state(budget.organization, charge)),
      };
    });
  } catch (error) {
    if (!(error instanceof OperationFailure)) throw error;
    return { problem: error.message.replace(' Nothing was changed.', '') };
  }
}

/** In the measure of the budget; null where the ledger cannot be read. */
function toRecord({ measure, amount, period, scope, isHard: hard }: Budget, use: Use | undefined) {
  const unit = measure === 'usd' ? NANO : 1;
  const [spent, reserved] = use === undefined ? [null, null] : [use.spent / unit, use.reserved / unit];
  const limit = Math.round(amount * unit);
  const left = use === undefined ? null : Math.max(0, limit - use.spent - use.reserved) / unit;
  const counts = scope.kind === 'model' ? `model:${scope.pattern}` : scope.kind;
  return { measure, period, scope: counts, amount, spent, reserved, left, hard };
}

type CallRecord = Readonly<
  Record<'model' | 'listed' | 'provider', string> &
    Record<'organization' | 'ledger_problem' | 'not_enforced', string | null> & {
      budgets: readonly ReturnType<typeof toRecord>[];
      price_known: boolean | null;
    }
>;

/** Beside the decision and the user. */
function factsOf(record: CallRecord, unpriced: 'refuse' | 'allow'): readonly Fact[] {
  const { listed, model, budgets, organization, price_known: isPriced } = record;
  const isRefused = unpriced === 'refuse' && budgets.some(({ measure, hard }) => hard && measure === 'usd');
  const noPrice = isRefused
    ? 'not known: a hard budget in money refuses the call'
    : 'not known: what it costs is not counted';
  return [
    ['listed as', listed === model ? undefined : listed],
    ['provider', record.provider],
    ['pays', organization ?? 'no organization'],
    ...budgets.map((budget): Fact => ['budget', describeBudget(budget)]),
    ['budget', budgets.length === 0 && organization !== null ? 'none counts this call' : undefined],
    ['price', isPriced === null ? undefined : isPriced ? 'known' : noPrice],
    ['ledger', record.ledger_problem ?? undefined],
    ['not enforced', record.not_enforced ?? undefined],
  ];
}

const PERIODS = { day: 'a day', week: 'a week', month: 'a month', total: 'in all' } as const;

function describeBudget({ measure, period, scope, amount, left, hard }: ReturnType<typeof toRecord>): string {
  const whose =
    scope === 'organization' ? '' : scope === 'user' ? ' for each user' : ` for ${scope.replace('model:', '')}`;
  const amounts = `${describeAmount({ measure, amount })} ${PERIODS[period]}${whose}`;
  if (left === null) return `${amounts}; what is left is not known`;
  if (left > 0) return `${amounts}; ${describeAmount({ measure, amount: Number(left.toFixed(4)) })} left`;
  return `${amounts}; used up${hard ? ', so that the call is refused' : ', and it refuses nothing'}`;
}
