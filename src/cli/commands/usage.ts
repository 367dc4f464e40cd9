/** `modelgate usage`: what organizations have used, and below it `usage invoice` and `usage close`. */
import { Option } from '@commander-js/extra-typings';
import type { Accounts } from '../../organizations/accounts.ts';
import { type Span, daySpan, monthSpan, periodOf } from '../../policy/period.ts';
import { type Correction, type UsageFigures, type UsageReport, type UsageRow, readUsage } from '../../usage/report.ts';
import { readingLedger } from '../ledger.ts';
import { type CommandLine, usageCommand } from '../options.ts';
import { type Cell, type Fact, type Notes, counted, grouped, tableOf } from '../report.ts';
import { misused } from '../terminal.ts';
import { addClose, addInvoice } from './invoice.ts';
import { CSV, DATABASE, accountsIn, monthOption, requireKnown, toDay, zoneOption } from './ledger-options.ts';
import { addReconcile } from './reconcile.ts';

const BY = ['org', 'user', 'model', 'day', 'kind', 'provider'] as const;

const addReport = usageCommand(
  'usage',
  `show what organizations have used, in tokens and USD
Of this month, where no time is named. Days and months are those of --time-zone. Input has its cached part in it, output its reasoning. Costs of calls without usage of the provider (estimated) and of calls that were cut (interrupted) are in the cost, and stand apart beside it. Calls without a price (unpriced) are in no cost.
$ modelgate usage --usage-database state/usage.db --month 2026-11 --by user
$ modelgate usage --from 2026-11-01 --to 2026-11-07 --by day --csv > week.csv`,
  (command) =>
    command
      .option('--org <id>', 'only this organization')
      .addOption(monthOption('a whole month (default: this month)').conflicts(['from', 'to']))
      .addOption(new Option('--from <date>', 'first day, such as 2026-11-01').argParser(toDay))
      .addOption(new Option('--to <date>', 'last day, which is counted too (default: today)').argParser(toDay))
      .addOption(new Option('--by <what>', 'what a row is of').choices(BY).default('org' as const))
      .addOption(zoneOption('where days and months begin, such as Europe/Warsaw (default: MODELGATE_TIME_ZONE)'))
      .addOption(CSV)
      .addOption(DATABASE),
  async (options, { config, ledger, terminal }) => {
    const { org: organization, timeZone = config.usage.timeZone, csv = false } = options;
    const by = options.by === 'org' ? 'organization' : options.by;
    const span = spanOf(options, timeZone, Date.now());
    const record = await readingLedger(ledger, (connection) => {
      requireKnown(connection, organization);
      return readUsage(connection, { ...span, organization, by, timeZone });
    });
    const accounts = by === 'user' || by === 'organization' ? await accountsIn(options, terminal) : undefined;
    const facts: readonly Fact[] = [['time', `${record.from} to ${record.to} (${timeZone})`]];
    return { record, parts: [...(csv ? [] : [facts]), tableIn(record, accounts, csv)], notes: notesOn(record) };
  },
);

/** Adds `usage` and what stands below it. */
export function addUsage(line: CommandLine): void {
  // those below have options of the same name
  line.program.enablePositionalOptions();
  addReport(line);
  const program = line.program.commands.at(-1) as CommandLine['program'];
  for (const add of [addInvoice, addClose, addReconcile]) add({ ...line, program });
}

type Times = Readonly<Partial<Record<'month' | 'from' | 'to', string>>>;

/** @throws CommandFailure with exit code 2 where the first day is after the last */
function spanOf({ month, from: first, to: last }: Times, timeZone: string, now: number): Span {
  if (month !== undefined) return monthSpan(month, timeZone) ?? periodOf('month', timeZone, now);
  if (first === undefined) {
    if (last !== undefined) throw misused('--to needs a first day, too: --from 2026-11-01.');
    return periodOf('month', timeZone, now);
  }
  const from = daySpan(first, timeZone)?.from ?? 0;
  const to = (last === undefined ? undefined : daySpan(last, timeZone)?.to) ?? periodOf('day', timeZone, now).to;
  if (from < to) return { from, to };
  throw misused(`--from ${first} is after ${last === undefined ? 'today' : `--to ${last}`}.`);
}

/** A person reads groups of digits and the total below; a program reads neither. */
function tableIn({ rows, total, by }: UsageReport, accounts: Accounts | undefined, csv: boolean) {
  const count = (number: number): Cell => (csv ? number : grouped(number));
  const apart = (number: number): Cell => (csv || number > 0 ? count(number) : null);
  const cost = ({ requests, cost_usd: usd }: UsageFigures['estimated']): Cell => (csv || requests > 0 ? usd : null);
  const all: readonly UsageRow[] = csv ? rows : [...rows, { ...total, [by]: 'total' }];
  const person = (row: UsageRow) => accounts?.people.get(row.user ?? '');
  const isNamed = by === 'organization' && accounts !== undefined;
  return tableOf(all, {
    [by]: (row) => row[by],
    ...(by === 'user' && accounts !== undefined
      ? { email: (row: UsageRow) => person(row)?.email, name: (row: UsageRow) => person(row)?.name }
      : {}),
    ...(isNamed ? { name: (row: UsageRow) => accounts.organizations.get(row.organization ?? '')?.name } : {}),
    requests: (row) => count(row.requests),
    input: (row) => count(row.input),
    cached: (row) => count(row.cached),
    output: (row) => count(row.output),
    reasoning: (row) => count(row.reasoning),
    cost_usd: (row) => row.cost_usd,
    unpriced: (row) => apart(row.unpriced),
    estimated: (row) => apart(row.estimated.requests),
    estimated_usd: (row) => cost(row.estimated),
    interrupted: (row) => apart(row.interrupted.requests),
    interrupted_usd: (row) => cost(row.interrupted),
  });
}

const notesOn = ({ unresolved, total, corrections }: UsageReport): Notes => [
  unresolved > 0 && `${counted(unresolved, 'call')} of this time in no row: the figures are not known yet.`,
  total.unpriced > 0 && `${counted(total.unpriced, 'call')} without a known price in no cost.`,
  ...corrections.map(noteOnCorrection),
];

const noteOnCorrection = ({ organization, since, cost_usd: usd }: Correction): string =>
  `Closed months of ${organization} since ${since} differ by ${usd} USD from what was billed: the next invoice has it as a correction.`;
