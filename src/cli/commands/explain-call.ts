/** `modelgate explain --door provider`: what the provider door would say of a call, and who would pay for it. */
import { quoted, quotedFew } from '../../backend-file/text.ts';
import type { Config } from '../../config/schema.ts';
import { askingAs, unenforced } from '../../organizations/explanation.ts';
import { type Budget, budgetsAt } from '../../policy/budget.ts';
import { REASONS } from '../../policy/decision.ts';
import { parseModelId } from '../../policy/grant.ts';
import { foresee } from '../../provider-door/foresight.ts';
import { type BudgetUse, createBudgetUse } from '../../usage/budget-states.ts';
import { counts } from '../../usage/charges.ts';
import { createMeans } from '../../usage/means.ts';
import { createPriceBook } from '../../usage/price-book.ts';
import { environmentWith } from '../database.ts';
import { ifReadable, readingLedger } from '../ledger.ts';
import { type DatabaseOptions, contextOn, requireConfig } from '../options.ts';
import type { Fact } from '../report.ts';
import { type Terminal, misused } from '../terminal.ts';
import { COLUMNS, useWords } from './budget-list.ts';

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
  const { timeZone, path, postgres } = config.usage;
  const { user, answer } = await askingAs(operation, named, policy, (view, principal) => {
    const seen = foresee({ policy: config.policy, serviceModels, provider }, view, principal, model);
    const { payer, listed } = seen;
    const stored = payer === undefined ? [] : budgetsAt(view.budgetsOf(payer), startedAt);
    return { ...seen, budgets: stored.filter((budget) => counts(budget, { user: principal.id, model: listed })) };
  });
  const { decision, payer, listed, budgets } = answer;
  const call = { provider: provider.url.host, wireModel: model, organization: payer ?? '', isStreamed: false };
  const ledger: Found = await ifReadable(() =>
    readingLedger({ ...operation, path, postgres }, (connection) => {
      const useOf = createBudgetUse(connection, timeZone, startedAt);
      const found = createPriceBook(connection).find(provider.url.host, model, startedAt);
      const without = createMeans(connection).of(call)?.cost === undefined ? 'unknown' : 'reported';
      return {
        price: found === undefined ? without : found.price.free ? 'free' : 'known',
        uses: budgets.map((budget) => useOf(budget, user.id)),
      };
    }),
  );
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
    budgets: budgets.map((budget, at) => toRecord(budget, ledger.uses?.[at])),
    price: ledger.price ?? null,
    ledger_problem: ledger.problem ?? null,
    not_enforced: unenforced(policy, decision.effect),
  };
  return { record, facts: factsOf(record, config.usage) };
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

/** `reported`: none, but the provider has said of calls before what they cost. */
type PriceState = 'known' | 'free' | 'reported' | 'unknown';
type Found = Readonly<{ uses?: readonly BudgetUse[]; price?: PriceState; problem?: string }>;

/** In the measure of the budget; null where the ledger cannot be read. */
function toRecord({ measure, amount, period, scope, isHard: hard }: Budget, use: BudgetUse | undefined) {
  const { spent = null, reserved = null, left = null } = use ?? {};
  const counted = scope.kind === 'model' ? `model:${scope.pattern}` : scope.kind;
  return { measure, period, scope: counted, amount, spent, reserved, left, hard };
}

type CallRecord = Readonly<
  Record<'model' | 'listed' | 'provider', string> &
    Record<'organization' | 'ledger_problem' | 'not_enforced', string | null> & {
      budgets: readonly ReturnType<typeof toRecord>[];
      price: PriceState | null;
    }
>;

/** Beside the decision and the user. */
function factsOf(record: CallRecord, usage: NonNullable<Config['usage']>): readonly Fact[] {
  const { listed, model, budgets, organization, price } = record;
  return [
    ['listed as', listed === model ? undefined : listed],
    ['provider', record.provider],
    ['pays', organization ?? 'no organization'],
    ...budgets.map((budget): Fact => ['budget', describeBudget(budget, price === 'free')]),
    ['budget', budgets.length === 0 && organization !== null ? 'none counts this call' : undefined],
    ['price', price === null ? undefined : describePrice(price, budgets, usage)],
    ['ledger', record.ledger_problem ?? undefined],
    ['not enforced', record.not_enforced ?? undefined],
  ];
}

/** As `reservationOf` decides. */
function describePrice(
  price: PriceState,
  budgets: CallRecord['budgets'],
  { reserve, unpriced }: NonNullable<Config['usage']>,
): string {
  if (price === 'known' || price === 'free') return price;
  const isEnough = reserve === 'none' || (reserve === 'typical' && price === 'reported');
  const isRefused =
    budgets.some(({ measure, hard }) => hard && measure === 'usd') && unpriced === 'refuse' && !isEnough;
  if (isRefused) return 'not known: a hard budget in money refuses the call';
  return price === 'reported'
    ? 'that which the provider reports of each call'
    : 'not known: what it costs is not counted';
}

function describeBudget(budget: ReturnType<typeof toRecord>, isFree: boolean): string {
  const { measure, scope, left, hard } = budget;
  const amounts = `${COLUMNS.budget(budget)}${scope === 'organization' ? '' : ` for ${COLUMNS.for(budget)}`}`;
  if (left === null) return `${amounts}; what is left is not known`;
  if (left > 0) return `${amounts}; ${useWords(measure, left)} left`;
  const isRefused = hard && !(isFree && measure === 'usd');
  return `${amounts}; used up${isRefused ? ', so that the call is refused' : ', and it refuses nothing'}`;
}
