/** What an organization pays for a month: a line for each user and model, each rounded once, and the total is their sum. */
import { type Span, monthSpan } from '../policy/period.ts';
import type { Connection } from '../store/database.ts';
import { correctionDue, readClosings } from './closings.ts';
import { type Decimal, ONE, asAmount, inCents } from './money.ts';
import { type UsageFigures, addTo, costFields, figuresOf, newGroup } from './report.ts';
import { sumSlots, unresolvedIn } from './slots.ts';

/** What makes an amount of a cost. What is left out is 1, and USD. */
export interface Terms {
  readonly markup?: Decimal | undefined;
  /** Units of `currency` for one USD. */
  readonly rate?: Decimal | undefined;
  readonly currency?: string | undefined;
  /** IANA. Where the month begins and ends. */
  readonly timeZone: string;
}

/** Whom the ledger knows by id alone; null where it is not known. */
interface Names {
  readonly organization: string | null;
  readonly emailOf: (user: string) => string | null;
}

export interface InvoiceQuestion {
  /** Such as `2026-11`. */
  readonly month: string;
  readonly organization: string;
  readonly terms: Terms;
  readonly names: Names;
}

/**
 * `usage` has an amount, `unpriced` stands for calls whose cost is not known, `correction` for what closed months have become
 * more or less `since` the first one that differs. What a line says nothing of is null.
 */
type InvoiceLine = { readonly line: 'usage' | 'unpriced' | 'correction' } & Readonly<
  Record<'user' | 'email' | 'model' | 'since' | 'amount', string | null>
> & { readonly [F in Exclude<keyof UsageFigures, 'unpriced'>]: UsageFigures[F] | null };

/** Money in `currency` as text with two digits behind the point; costs in USD, as in a `UsageReport`. */
export interface Invoice {
  readonly organization: string;
  readonly name: string | null;
  readonly month: string;
  readonly from: string;
  readonly to: string;
  readonly time_zone: string;
  readonly markup: string;
  readonly currency: string;
  readonly rate: string;
  readonly closed_at: string | null;
  readonly lines: readonly InvoiceLine[];
  readonly amount: string;
  readonly cost_usd: string;
  readonly cost_nano: number;
  /** Calls that no line has an amount for. */
  readonly unpriced: number;
  /** Calls of the month whose figures are not known yet: they are in no line. */
  readonly unresolved: number;
}

/** @returns what a closed month was billed as; what another one comes to now @throws RangeError for what is no month @throws SqliteError */
export function readInvoice(connection: Connection, question: InvoiceQuestion): Invoice {
  const { organization, month } = question;
  const billed = connection.prepare<[string, string], string>(BILLED).pluck().get(organization, month);
  return billed === undefined ? draftInvoice(connection, question).invoice : (JSON.parse(billed) as Invoice);
}

/** Of an organization that has used anything. */
export const isUsed = ({ lines, unresolved }: Invoice): boolean => lines.length > 0 || unresolved > 0;

const BILLED = 'SELECT invoice FROM usage_closing WHERE organization_id = ? AND period = ?';

/** @param connection may be one for reading alone @throws as `readInvoice` */
export function draftInvoice(connection: Connection, { month, organization, terms, names }: InvoiceQuestion) {
  const { markup = ONE, currency = 'USD', rate = ONE, timeZone } = terms;
  const span = spanOf(connection, organization, month, timeZone);
  const amountOf = (nano: bigint): bigint => inCents(nano, [markup, rate]);
  const { lines, cents, unpriced, own } = linesOf(connection, { organization, span, amountOf, names });
  const due = correctionDue(connection, organization, month);
  const dueCents = amountOf(due?.nano ?? 0n);
  const nano = own + (due?.nano ?? 0n);
  const invoice: Invoice = {
    ...{ organization, name: names.organization, month },
    ...{ from: new Date(span.from).toISOString(), to: new Date(span.to).toISOString(), time_zone: timeZone },
    ...{ markup: markup.text, currency, rate: rate.text, closed_at: null },
    lines: due === undefined ? lines : [...lines, correctionLine(due.since, due.nano, dueCents)],
    amount: asAmount(cents + dueCents),
    ...costFields(nano),
    unpriced,
    unresolved: unresolvedIn(connection, [organization], span).get(organization) ?? 0,
  };
  return { invoice, nano, span };
}

/** A month begins where the one before was closed, in whatever time zone that was: no call is in two invoices or in none. */
function spanOf(connection: Connection, organization: string, month: string, timeZone: string): Span {
  const span = monthSpan(month, timeZone);
  if (span === undefined) throw new RangeError(`${month} is no month`);
  const last = Temporal.PlainYearMonth.from(month).subtract({ months: 1 }).toString();
  const from = readClosings(connection, organization).find(({ period }) => period === last)?.to ?? span.from;
  return { ...span, from };
}

interface Billing {
  readonly organization: string;
  readonly span: Span;
  /** In hundredths. */
  readonly amountOf: (nano: bigint) => bigint;
  readonly names: Names;
}

function linesOf(connection: Connection, { organization, span, amountOf, names }: Billing) {
  const groups = Map.groupBy(sumSlots(connection, [organization], span, ['user', 'model', 'measured']), (row) =>
    JSON.stringify([row.user, row.model]),
  );
  const lines: InvoiceLine[] = [];
  let [cents, own, unpriced] = [0n, 0n, 0];
  for (const rows of groups.values()) {
    const [{ user, model } = { user: '', model: '' }] = rows;
    const group = newGroup();
    for (const row of rows) addTo(group, row.measured, row);
    const of = { user: user === '' ? null : user, email: names.emailOf(user), model };
    const hasPrice = group.all.requests > group.all.unpriced;
    if (hasPrice) {
      const amount = amountOf(group.all.costNano);
      cents += amount;
      lines.push(usageLine(of, figuresOf(group), amount));
    }
    if (group.all.unpriced > 0) lines.push(unpricedLine(of, figuresOf(group), hasPrice));
    own += group.all.costNano;
    unpriced += group.all.unpriced;
  }
  return { lines, cents, own, unpriced };
}

type Of = Readonly<{ user: string | null; email: string | null; model: string }>;

const EMPTY: Omit<InvoiceLine, 'line'> = {
  ...{ user: null, email: null, model: null, since: null },
  ...{ requests: null, input: null, cached: null, output: null, reasoning: null },
  ...{ cost_usd: null, cost_nano: null, estimated: null, interrupted: null, amount: null },
};

const usageLine = (of: Of, { unpriced, requests, ...figures }: UsageFigures, cents: bigint): InvoiceLine => ({
  ...{ line: 'usage', ...EMPTY, ...of, requests: requests - unpriced, ...figures, amount: asAmount(cents) },
});

/** Where some calls of a user and model have a price and some have none, the tokens of all stand with those that have. */
function unpricedLine(of: Of, { unpriced, ...figures }: UsageFigures, areTokensElsewhere: boolean): InvoiceLine {
  const { input, cached, output, reasoning } = figures;
  const tokens = areTokensElsewhere ? {} : { input, cached, output, reasoning };
  return { line: 'unpriced', ...EMPTY, ...of, requests: unpriced, ...tokens };
}

const correctionLine = (since: string, nano: bigint, cents: bigint): InvoiceLine => ({
  ...{ line: 'correction', ...EMPTY, since, ...costFields(nano), amount: asAmount(cents) },
});
