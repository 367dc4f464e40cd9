/** `modelgate usage invoice` and `usage close`: what organizations pay for a month, and that it was billed. */
import { type Command, type OptionValues, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { OperationFailure, refuseAll } from '../../backend-file/failure.ts';
import { quoted } from '../../backend-file/text.ts';
import type { LedgerConfig } from '../../config/usage.ts';
import type { Account } from '../../organizations/accounts.ts';
import { parseTimeZone } from '../../policy/period.ts';
import type { Connection } from '../../store/database.ts';
import { type Obstacle, closeMonth } from '../../usage/close-month.ts';
import { type Invoice, type InvoiceQuestion, type Terms, isUsed, readInvoice } from '../../usage/invoice.ts';
import { type Decimal, parseDecimal } from '../../usage/money.ts';
import { changingLedger, readingLedger } from '../ledger.ts';
import { type DatabaseOptions, usageCommand } from '../options.ts';
import { type Cell, type Notes, asCsv, counted, grouped, tableOf } from '../report.ts';
import { type Terminal, misused } from '../terminal.ts';
import { CSV, DATABASE, accountsIn, monthOption, requireKnown, zoneOption } from './ledger-options.ts';

const RULE =
  'An amount is cost × markup × rate, worked out in exact decimals and rounded once a line to two digits behind the point, half of one away from zero; the total is the sum of the lines.';

const withTerms = <A extends unknown[], O extends OptionValues>(command: Command<A, O>) =>
  command
    .addOption(monthOption('the month').makeOptionMandatory())
    .option('--org <id>', 'only this organization')
    .addOption(
      new Option(
        '--markup <factor>',
        "what the cost is multiplied with, such as 1.3 (default: markup_rate of mAI's client_organizations, or 1)",
      ).argParser(toFactor),
    )
    .addOption(
      new Option('--currency <code>', 'three letters, such as PLN; needs --rate (default: USD)').argParser(toCurrency),
    )
    .addOption(new Option('--rate <factor>', 'how much of it one USD is, such as 4.02').argParser(toFactor))
    .addOption(
      zoneOption("where the month begins (default: timezone of mAI's client_organizations, or MODELGATE_TIME_ZONE)"),
    )
    .addOption(DATABASE);

const ON_MONTH = '--month 2026-11';

export const addInvoice = usageCommand(
  'invoice',
  `print what organizations pay for a month: a line for each user and model
${RULE} Estimated and interrupted calls are in the cost, and stand apart beside it. Calls without a price are lines without an amount; where a user and model have calls with and without one, the tokens of all stand in the line with the amount. What closed months have become more or less since they were closed is a line of its own, a correction. A closed month is printed as it was billed, whatever the options say.
$ modelgate usage invoice ${ON_MONTH} --markup 1.3 --currency PLN --rate 4.02 --csv > invoice.csv
$ modelgate usage invoice ${ON_MONTH} --org mai_client_acme --json`,
  (command) => withTerms(command).addOption(CSV),
  async (options, { config, ledger, terminal }) => {
    const questionsIn = await prepare(options, config, terminal);
    const all = await readingLedger(ledger, (connection) =>
      questionsIn(connection).map((question) => readInvoice(connection, question)),
    );
    const invoices = options.org === undefined ? all.filter(isUsed) : all;
    return {
      record: { month: options.month, invoices },
      parts: [tableOfLines(invoices, options.csv), ...(options.csv === true ? [] : [tableOfTotals(invoices)])],
      notes: [
        invoices.length === 0 && `No organization has used anything in ${options.month}.`,
        ...invoices.flatMap((invoice) => notesOn(invoice, Date.now())),
      ],
    };
  },
);

export const addClose = usageCommand(
  'close',
  `write down that a month was billed: it stays so, and later changes are corrections on the next invoice
Of each organization that has used anything in the month, or of one. Kept is the invoice, with the SHA-256 of what usage invoice --csv prints of it. Nothing is closed while the month is not over, or while the figures of a call in it are not known yet; months are closed in their order, and none is opened again.
$ modelgate usage close ${ON_MONTH} --markup 1.3 --currency PLN --rate 4.02
$ modelgate usage close ${ON_MONTH} --org mai_client_acme`,
  (command) => withTerms(command),
  async (options, { config, ledger, terminal }) => {
    const questionsIn = await prepare(options, config, terminal);
    const csvOf = (invoice: Invoice) => asCsv(tableOfLines([invoice], true));
    // what a call writes while one sum after the other is read is a correction on the next invoice
    const { obstacles, closed } = await changingLedger(
      ledger,
      (connection) => closeMonth(connection, questionsIn(connection), { now: Date.now(), csvOf }),
      { besideCalls: true },
    );
    const remedy = obstacles.some(({ kind }) => kind === 'unresolved') ? ASK_NOW : '';
    refuseAll(obstacles.map(describeObstacle), 'Nothing was closed.', { remedy, what: 'organizations' });
    if (closed.length === 0) {
      const who = options.org === undefined ? 'No organization' : quoted(options.org);
      const has = options.org === undefined ? 'has used anything' : 'has used nothing';
      throw new OperationFailure(`${who} ${has} in ${options.month} that is not closed yet. Nothing was closed.`);
    }
    return {
      record: { month: options.month, closed: closed.map(({ lines, ...rest }) => ({ ...rest, lines: lines.length })) },
      parts: [tableOfTotals(closed)],
      notes: closed.map(noteOnUnpriced),
    };
  },
);

const ASK_NOW = 'To ask the providers now: `modelgate usage reconcile`';

function toFactor(text: string): Decimal {
  const factor = parseDecimal(text);
  if (factor !== undefined) return factor;
  throw new InvalidArgumentError('expected a number above 0 with at most 6 digits before the point and 8 behind it.');
}

function toCurrency(text: string): string {
  if (/^[A-Z]{3}$/.test(text)) return text;
  throw new InvalidArgumentError('expected the three letters of a currency, such as PLN.');
}

type AskedTerms = Omit<Terms, 'timeZone'> & Readonly<{ timeZone?: string | undefined }>;
type InvoiceOptions = DatabaseOptions & AskedTerms & Readonly<{ month: string; org?: string | undefined }>;

/** @returns what to ask of the ledger @throws CommandFailure with exit code 2 where a currency has no rate, or a rate no currency */
async function prepare({ month, org, ...options }: InvoiceOptions, { usage }: LedgerConfig, terminal: Terminal) {
  const { currency, rate } = options;
  if (rate !== undefined && currency === undefined) throw misused('--rate is of which currency? Add --currency PLN.');
  if (currency !== undefined && currency !== 'USD' && rate === undefined) {
    throw misused(`How much ${currency} is one USD? Add --rate 4.02.`);
  }
  if (currency === 'USD' && Number(rate?.text ?? 1) !== 1) {
    throw misused('One USD is one USD: --rate is of another currency. Add --currency PLN.');
  }
  const accounts = await accountsIn(options, terminal);
  const emailOf = (user: string) => accounts?.people.get(user)?.email ?? null;
  return (connection: Connection): readonly InvoiceQuestion[] =>
    requireKnown(connection, org).map((organization) => {
      const account = accounts?.organizations.get(organization);
      const { markup, timeZone = usage.timeZone } = account === undefined ? options : withStored(options, account);
      const terms = { markup, timeZone, currency, rate };
      return { month, organization, terms, names: { organization: account?.name ?? null, emailOf } };
    });
}

/** With what mAI's table says of the rest. @throws OperationFailure where that cannot be used: it must not be billed in silence */
function withStored(asked: AskedTerms, { id, ...stored }: Account): AskedTerms {
  const read = <T>(column: string, option: string, found: string | number | null, parse: (text: string) => T) => {
    if (found === null || found === '') return undefined;
    const term = parse(String(found));
    if (term !== undefined) return term;
    const sentence = `client_organizations has ${column} ${quoted(String(found))} for ${quoted(id)}, which cannot be used.`;
    throw new OperationFailure(`${sentence} Correct it, or name one with ${option}.`);
  };
  return {
    markup: asked.markup ?? read('markup_rate', '--markup', stored.markup, parseDecimal),
    timeZone: asked.timeZone ?? read('timezone', '--time-zone', stored.timeZone, parseTimeZone),
  };
}

/** @param csv every line by itself, with its terms; a person reads those of all lines below */
function tableOfLines(invoices: readonly Invoice[], csv = false) {
  const lines = invoices.flatMap((invoice) => invoice.lines.map((line) => ({ ...line, invoice })));
  type Line = (typeof lines)[number];
  const count = (number: number | null): Cell => (csv || number === null ? number : grouped(number));
  const part = (name: 'estimated' | 'interrupted') => ({
    [name]: (line: Line) => count(csv || line[name]?.requests !== 0 ? (line[name]?.requests ?? null) : null),
    [`${name}_usd`]: (line: Line) => (csv || line[name]?.requests !== 0 ? line[name]?.cost_usd : null),
  });
  const ofInvoice = (name: 'month' | 'time_zone' | 'markup' | 'rate' | 'currency') =>
    csv ? { [name]: (line: Line) => line.invoice[name] } : {};
  return tableOf(lines, {
    ...ofInvoice('month'),
    organization: ({ invoice }) => invoice.organization,
    ...(csv ? { organization_name: ({ invoice }: Line) => invoice.name } : {}),
    user: 'user',
    email: 'email',
    model: 'model',
    line: ({ line, since }) => (since === null ? line : `${line} since ${since}`),
    requests: ({ requests }) => count(requests),
    input: ({ input }) => count(input),
    cached: ({ cached }) => count(cached),
    output: ({ output }) => count(output),
    reasoning: ({ reasoning }) => count(reasoning),
    cost_usd: 'cost_usd',
    ...part('estimated'),
    ...part('interrupted'),
    ...ofInvoice('time_zone'),
    ...ofInvoice('markup'),
    ...ofInvoice('rate'),
    ...ofInvoice('currency'),
    amount: 'amount',
  });
}

const tableOfTotals = (invoices: readonly (Invoice & { readonly csv_sha256?: string })[]) =>
  tableOf(
    invoices,
    {
      organization: 'organization',
      name: 'name',
      cost_usd: 'cost_usd',
      markup: 'markup',
      rate: 'rate',
      amount: 'amount',
      currency: 'currency',
      time_zone: 'time_zone',
      closed: ({ closed_at: at }) => at?.slice(0, 10),
      csv_sha256: 'csv_sha256',
    },
    'Totals',
  );

const noteOnUnpriced = ({ organization, unpriced }: Invoice) =>
  unpriced > 0 &&
  `${organization}: ${counted(unpriced, 'call')} WITHOUT A PRICE, in no amount: see the lines "unpriced".`;

const notesOn = (invoice: Invoice, now: number): Notes => {
  const { organization, month, to, unresolved, closed_at: closed } = invoice;
  return [
    noteOnUnpriced(invoice),
    unresolved > 0 &&
      `${organization}: ${counted(unresolved, 'call')} of ${month} in no line: the figures are not known yet.`,
    Date.parse(to) > now && `${organization}: ${month} ends at ${to}. This is what it has used until now.`,
    closed !== null && `${organization}: ${month} was closed at ${closed}. This is what was billed.`,
  ];
};

function describeObstacle(obstacle: Obstacle): string {
  const name = quoted(obstacle.organization);
  switch (obstacle.kind) {
    case 'later_closed':
      return `Of ${name}, ${obstacle.month} was closed already: months are closed in their order.`;
    case 'not_over':
      return `The month of ${name} ends at ${obstacle.ends}.`;
    case 'unresolved':
      return `${counted(obstacle.calls, 'call')} of ${name} in this month without figures: a running gate settles calls that were cut within some ten minutes.`;
  }
}
