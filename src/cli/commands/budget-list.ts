/** `modelgate budget list`, and how tables of budgets name them. */
import { listBudgets } from '../../organizations/budgets.ts';
import { type Budget, describeAmount } from '../../policy/budget.ts';
import { type BudgetUse, createBudgetUse } from '../../usage/budget-states.ts';
import { ifReadable, readingLedger } from '../ledger.ts';
import {
  type DatabaseOptions,
  USAGE_DATABASE,
  chooseOrganization,
  configureUsage,
  databaseCommand,
} from '../options.ts';
import { printable, tableOf } from '../report.ts';
import type { Terminal } from '../terminal.ts';

export const addList = databaseCommand(
  'list',
  `list budgets, what is used of them, and why some do not count
Of one organization, or of all. mAI's monthly_limit is among them where none of ours is in its place. What is spent, and reserved by calls that run, is of the period that runs, as the ledger has it; of a budget for each user, it is that of the user who has used most.
$ modelgate budget list
$ modelgate budget list mai_client_acme`,
  (command) => command.argument('[organization]', 'its id (default: all of them)').addOption(USAGE_DATABASE),
  async (id, options, { config, operation, terminal }) => {
    const chosen = id === undefined ? undefined : chooseOrganization(config, { org: id });
    const listed = await listBudgets(operation, chosen, config.timeZone);
    const counting = listed.flatMap((one) => one.counting ?? []);
    const { uses, problem } = await readUses(counting, options, config.timeZone, terminal);
    const budgets = listed.map((one): BudgetRow => {
      const use = one.counting && uses?.get(one.counting);
      return { ...one.record, spent: use?.spent ?? null, reserved: use?.reserved ?? null, spent_by: use?.user ?? null };
    });
    const isEmpty = budgets.length === 0;
    const howTo = 'There is no budget. To set one: `modelgate budget set ORGANIZATION --usd 50`';
    return {
      record: { budgets, ledger_problem: problem ?? null },
      parts: isEmpty ? [] : [tableOf(budgets, LISTED)],
      notes:
        options.json === true
          ? []
          : [isEmpty && howTo, problem !== undefined && `What is spent is not known. ${problem}`],
    };
  },
);

type UseOptions = DatabaseOptions & { readonly usageDatabase?: string };

/** @returns what is used of each; none, and why, where there is no ledger @throws OperationFailure where one that is named cannot be read */
async function readUses(
  budgets: readonly Budget[],
  options: UseOptions,
  timeZone: string,
  terminal: Terminal,
): Promise<{ readonly uses?: ReadonlyMap<Budget, BudgetUse>; readonly problem?: string }> {
  if (budgets.length === 0) return {};
  const read = async () => ({
    uses: await readingLedger(configureUsage(options, terminal).ledger, (connection) => {
      const useOf = createBudgetUse(connection, timeZone, Date.now());
      return new Map(budgets.map((budget) => [budget, useOf(budget)]));
    }),
  });
  return options.usageDatabase === undefined ? ifReadable(read) : read();
}

type BudgetRow = Awaited<ReturnType<typeof listBudgets>>[number]['record'] &
  Readonly<Record<'spent' | 'reserved', number | null> & { spent_by: string | null }>;

const A_PERIOD = { day: 'a day', week: 'a week', month: 'a month', total: 'in all' } as const;
const STATES = {
  ...{ counts: 'counts', switched_off: 'switched off', unreadable: 'counts for nothing' },
  ...{ not_yet: 'does not count yet', over: 'is over' },
} as const;

type Shown = Readonly<Record<'measure' | 'period' | 'scope' | 'amount', unknown>>;

/** Of every table of budgets. */
export const COLUMNS = {
  budget: ({ measure, period, amount }: Shown) => `${amountOf(measure, amount)} ${periodWords(period)}`,
  for: ({ scope }: Shown) => scopeWords(scope),
} as const;

const LISTED: Parameters<typeof tableOf<BudgetRow>>[1] = {
  ...{ organization: 'organization', ...COLUMNS },
  spent: ({ measure, spent, spent_by: user }) =>
    spent === null ? null : `${useWords(measure, spent)}${user === null ? '' : ` (${user})`}`,
  reserved: ({ measure, reserved }) => (reserved === null || reserved === 0 ? null : useWords(measure, reserved)),
  raised: ({ amount, amount_now: now, raised, measure }) =>
    raised === null || now === null || now === amount
      ? null
      : `by ${amountOf(measure, raised.by)}${raised.until === null ? '' : ` until ${raised.until}`}`,
  'begins again': 'period_end',
  'said at': ({ soft_percent: percent }) => (percent === null ? null : `${percent} %`),
  refuses: 'hard',
  'time zone': 'time_zone',
  state: ({ state, source, faults }) =>
    [source === 'modelgate' ? STATES[state] : `${STATES[state]}, of mAI`, ...faults].join('; its '),
};

/** What a hand has written into a table of its own is shown as it is. */
function amountOf(measure: unknown, amount: unknown): string {
  const isKnown = measure === 'usd' || measure === 'tokens' || measure === 'requests';
  return isKnown && typeof amount === 'number'
    ? describeAmount({ measure, amount })
    : `${asText(amount)} ${asText(measure)}`;
}

/** Prices have many digits, of which a person wants few. */
export const useWords = (measure: unknown, amount: number): string => amountOf(measure, Number(amount.toFixed(4)));

const periodWords = (period: unknown): string =>
  period === 'day' || period === 'week' || period === 'month' || period === 'total' ? A_PERIOD[period] : asText(period);

function scopeWords(scope: unknown): string {
  if (scope === 'organization') return 'all together';
  return scope === 'user' ? 'each user' : asText(scope).replace(/^model:/, '');
}

const asText = (value: unknown): string => printable(typeof value === 'string' ? value : JSON.stringify(value));
