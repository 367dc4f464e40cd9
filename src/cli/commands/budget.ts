/** `modelgate budget set`, `list`, `raise` and `clear`: how much an organization may use. */
import { type Command, type OptionValues, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import { type Wanted, clearBudgets, raiseBudgets, setBudgets } from '../../organizations/budgets.ts';
import { describeAmount } from '../../policy/budget.ts';
import { PERIODS } from '../../policy/period.ts';
import { chooseOrganization, databaseCommand, groupOf, toCount } from '../options.ts';
import { tableOf } from '../report.ts';
import { misused } from '../terminal.ts';
import { COLUMNS, addList } from './budget-list.ts';
import { toDay, toPattern, zoneOption } from './ledger-options.ts';
import { noteOnSwitch } from './member.ts';

const ORGANIZATION = ['[organization]', 'its id (default: OPENROUTER_EXTERNAL_USER)'] as const;
const MODEL = 'these models alone: an id, or a beginning with * at its end';

const period = () => new Option('--period <period>', 'by the calendar; a week begins on Monday').choices(PERIODS);
const model = () => new Option('--model <pattern>', MODEL).argParser(toPattern).conflicts('userUsd');

const withAmounts = <A extends unknown[], O extends OptionValues>(command: Command<A, O>) =>
  command
    .argument(...ORGANIZATION)
    .option('--usd <amount>', 'US dollars', toDollars)
    .option('--user-usd <amount>', 'US dollars for each user by itself', toDollars)
    .option('--tokens <count>', 'tokens, in and out together', toCount(0, MOST))
    .option('--requests <count>', 'calls of a model', toCount(0, MOST))
    .addOption(period().default('month' as const))
    .addOption(model());

const addSet = databaseCommand(
  'set',
  `set budgets of an organization
A budget counts what goes through the provider door (MODELGATE_PROVIDER_PORT). When it is used up, calls are refused with a sentence for the user until the next period begins; running answers are not cut. What is not named has its default, also where there is such a budget already; a raise goes on to its end. Budgets of several periods, of users and of models count beside each other.
$ modelgate budget set mai_client_acme --usd 50
$ modelgate budget set mai_client_acme --usd 50 --user-usd 5 --soft 80 --time-zone Europe/Warsaw
$ modelgate budget set mai_client_acme --requests 1000 --period day --model 'openai/*' --soft-only`,
  (command) =>
    withAmounts(command)
      .option('--soft <percent>', 'share at which it is said once a period', toCount(1, 100), 80)
      .option('--soft-only', 'refuse nothing when it is used up')
      .addOption(zoneOption('of the calendar (default: of the organization in mAI, or of the gate)')),
  async (id, options, { config, operation }) => {
    const chosen = chooseOrganization(config, { org: id }, 'its id');
    const { soft: softPercent, softOnly, timeZone } = options;
    const definition = { wanted: wantedOf(options), softPercent, isHard: softOnly !== true, timeZone };
    const { record, isActive, replaced } = await setBudgets(operation, chosen, definition);
    return {
      record,
      parts: [
        tableOf(record.budgets, {
          ...COLUMNS,
          before: ({ before, measure }) =>
            typeof before === 'number' ? describeAmount({ measure, amount: before }) : null,
          result: ({ outcome }) => OUTCOMES[outcome],
        }),
      ],
      notes: [
        noteOnSwitch(chosen.id, isActive),
        replaced !== undefined &&
          `mAI's monthly_limit of ${inDollars(replaced)} no longer counts: this is in its place.`,
      ],
    };
  },
);

const addRaise = databaseCommand(
  'raise',
  `raise budgets for some days
It counts on top of the amount to the end of the named day, by the clock of the budget, in every period that begins until then, and takes the place of an earlier raise.
$ modelgate budget raise mai_client_acme --usd 20 --until 2026-11-30`,
  (command) => withAmounts(command).requiredOption('--until <day>', 'its last day, such as 2026-11-30', toDay),
  async (id, options, { config, operation }) => {
    const chosen = chooseOrganization(config, { org: id }, 'its id');
    const raise = { wanted: wantedOf(options), until: options.until, defaultZone: config.timeZone };
    const { record, isActive } = await raiseBudgets(operation, chosen, raise);
    const table = tableOf(record.budgets, {
      ...COLUMNS,
      'raised by': ({ measure, raised }) => describeAmount({ measure, amount: raised }),
      'to the end of': () => options.until,
      'time zone': 'time_zone',
    });
    return { record, parts: [table], notes: [noteOnSwitch(chosen.id, isActive)] };
  },
);

const addClear = databaseCommand(
  'clear',
  `switch budgets off
All of the organization, or those that are named. The rows stay, and keep mAI's monthly_limit from counting again.
$ modelgate budget clear mai_client_acme
$ modelgate budget clear mai_client_acme --usd --period month`,
  (command) =>
    command
      .argument(...ORGANIZATION)
      .option('--usd', 'those in US dollars')
      .option('--user-usd', 'those in US dollars for each user')
      .option('--tokens', 'those in tokens')
      .option('--requests', 'those in requests')
      .addOption(period())
      .addOption(model())
      .option('--purge', 'delete the rows'),
  async (id, options, { config, operation }) => {
    const chosen = chooseOrganization(config, { org: id }, 'its id');
    const kinds = kindsOf(options).map(({ measure, scope }) => ({ measure, scope }));
    const unwanted = {
      ...{ kinds: kinds.length === 0 ? undefined : kinds, period: options.period },
      ...{ scope: options.model === undefined ? undefined : scopeOf(options), purge: options.purge === true },
    };
    const { record, returned } = await clearBudgets(operation, chosen, unwanted);
    const table = tableOf(record.budgets, { ...COLUMNS, result: ({ outcome }) => OUTCOMES[outcome] });
    const note = `mAI's monthly_limit of ${inDollars(returned ?? 0)} counts for ${quoted(chosen.id)}.`;
    return { record, parts: [table], notes: [returned !== undefined && note] };
  },
);

export const addBudget = groupOf(
  'budget',
  `set, list, raise and clear how much an organization may use
$ modelgate budget list
$ modelgate help budget set`,
  ...[addSet, addList, addRaise, addClear],
);

const MOST = 1e15;

type Amounts<T> = Readonly<Partial<Record<'usd' | 'userUsd' | 'tokens' | 'requests', T>>> & {
  readonly model?: string | undefined;
};

const scopeOf = ({ model: pattern }: Amounts<unknown>): string =>
  pattern === undefined ? 'organization' : `model:${pattern}`;

function kindsOf<T>(options: Amounts<T>) {
  const { usd, userUsd, tokens, requests } = options;
  const scope = scopeOf(options);
  const kinds = [
    { measure: 'usd', scope, amount: usd },
    { measure: 'usd', scope: 'user', amount: userUsd },
    { measure: 'tokens', scope, amount: tokens },
    { measure: 'requests', scope, amount: requests },
  ] as const;
  return kinds.flatMap(({ amount, ...kind }) => (amount === undefined ? [] : [{ ...kind, amount }]));
}

function wantedOf(options: Amounts<number> & Pick<Wanted, 'period'>): readonly Wanted[] {
  const wanted = kindsOf(options).map((kind) => ({ ...kind, period: options.period }));
  if (wanted.length === 0) throw misused('How much? Name --usd, --user-usd, --tokens or --requests.');
  return wanted;
}

function toDollars(text: string): number {
  if (/^\d{1,9}(?:\.\d{1,9})?$/.test(text)) return Number(text);
  const isLong = /^\d+(?:\.\d+)?$/.test(text);
  const other = isLong ? ', of at most nine digits before it and nine behind' : ', such as 50 or 0.25';
  const meant = /^\d+,\d\d?$/.test(text) ? `, as in ${text.replace(',', '.')}` : other;
  throw new InvalidArgumentError(`expected US dollars as a number, 0 or more, with a decimal point${meant}.`);
}

const OUTCOMES = {
  ...{ added: 'added', set: 'set', restored: 'switched on again' },
  ...{ deleted: 'deleted', switched_off: 'switched off', off_already: 'was switched off already' },
} as const;
const inDollars = (amount: number): string => describeAmount({ measure: 'usd', amount });
