/** Closes a month: what was billed is kept as it is, and what comes later is a correction on the next invoice. */
import { createHash } from 'node:crypto';
import type { Connection } from '../store/database.ts';
import { readClosings } from './closings.ts';
import { type Invoice, type InvoiceQuestion, draftInvoice, isUsed } from './invoice.ts';
import { ONE } from './money.ts';

/** Why a month of an organization cannot be closed. */
export type Obstacle = Readonly<
  { organization: string } & (
    { kind: 'not_over'; ends: string } | { kind: 'unresolved'; calls: number } | { kind: 'later_closed'; month: string }
  )
>;

type ClosedMonth = Invoice & { readonly csv_sha256: string };

interface Closure {
  readonly now: number;
  /** What `usage invoice --csv` prints of this invoice. */
  readonly csvOf: (invoice: Invoice) => string;
}

/** All of them that have used anything and are not closed yet, or none. Inside of the caller's transaction. @throws SqliteError */
export function closeMonth(
  connection: Connection,
  questions: readonly InvoiceQuestion[],
  { now, csvOf }: Closure,
): { readonly obstacles: readonly Obstacle[]; readonly closed: readonly ClosedMonth[] } {
  const drafts = questions.flatMap((question) => {
    const closings = readClosings(connection, question.organization);
    const last = closings.at(-1)?.period ?? '';
    if (closings.some(({ period }) => period === question.month)) return [];
    const draft = { ...draftInvoice(connection, question), terms: question.terms, last };
    return isUsed(draft.invoice) ? [draft] : [];
  });
  const obstacles = drafts.flatMap((draft) => obstacleTo(draft, now) ?? []);
  if (obstacles.length > 0) return { obstacles, closed: [] };
  const insert = connection.prepare(INSERT);
  const closed = drafts.map(({ invoice: draft, nano, span, terms: { markup = ONE, rate = ONE } }) => {
    const invoice: Invoice = { ...draft, closed_at: new Date(now).toISOString() };
    const { organization, month, currency } = invoice;
    const sha256 = createHash('sha256').update(csvOf(invoice)).digest('hex');
    insert.run({
      ...{ organization, month, ...span, now, currency, nano, sha256, invoice: JSON.stringify(invoice) },
      ...{ markup: Number(markup.text), rate: Number(rate.text) },
    });
    return { ...invoice, csv_sha256: sha256 };
  });
  return { obstacles, closed };
}

const INSERT = `
  INSERT INTO usage_closing (organization_id, period, starts_at, ends_at, closed_at, markup, rate, currency, cost_nano, csv_sha256, invoice)
  VALUES ($organization, $month, $from, $to, $now, $markup, $rate, $currency, $nano, $sha256, $invoice)`;

type Draft = ReturnType<typeof draftInvoice> & { readonly last: string };

function obstacleTo({ invoice, span, last }: Draft, now: number): Obstacle | undefined {
  const { organization, month, unresolved: calls } = invoice;
  // it has billed the corrections of all that was closed before it
  if (last > month) return { organization, kind: 'later_closed', month: last };
  if (now < span.to) return { organization, kind: 'not_over', ends: invoice.to };
  return calls > 0 ? { organization, kind: 'unresolved', calls } : undefined;
}
