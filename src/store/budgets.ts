/**
 * The budgets of the file: the rows of our own table, and mAI's monthly limit where none of ours takes its place. What cannot be
 * read of a row is never taken for more than it says: what it lacks counts as the table's default, and the fault is kept.
 */
import { type StoredBudget, BUDGET_MEASURES } from '../policy/budget.ts';
import { parsePattern } from '../policy/grant.ts';
import { PERIODS, parseTimeZone } from '../policy/period.ts';
import { toOrganizationId } from '../policy/principal.ts';
import { type Connection, prepareColumn } from './database.ts';
import { activeCondition, columnsOf, isOff } from './schema.ts';

/** With what stands for a column that a table made by hand may lack; undefined where no row can be read without it. */
export const COLUMNS = {
  ...{ id: undefined, measure: undefined, amount: undefined, period: undefined, scope: "'organization'" },
  ...{ soft_percent: '80', time_zone: 'NULL', valid_from: 'NULL', valid_to: 'NULL', raised: '0', raised_until: 'NULL' },
} as const;

export type Row = Readonly<Record<keyof typeof COLUMNS, unknown> & Record<'active' | 'hard', number>>;

/** What mAI's table says of an organization; each null where it says nothing. */
export type Client = Readonly<Record<'name' | 'limit' | 'zone', unknown>>;

/** What one row, or mAI's monthly limit, says. */
export interface BudgetEntry {
  readonly organization: string;
  /** As it is stored. */
  readonly row: Row;
  readonly isActive: boolean;
  readonly isMai: boolean;
  /** Undefined where it cannot be read, and so counts for nothing. */
  readonly budget: StoredBudget | undefined;
  /** What is wrong with it, in words that follow "its". */
  readonly faults: readonly string[];
}

const [TABLE, CLIENTS] = ['organization_budgets', 'client_organizations'] as const;

/** mAI's: by this id the ledger knows it. */
const MAI_LIMIT = 'monthly_limit';

const NEEDED = ['organization_id', 'id', 'measure', 'amount', 'period'];
const OWN_COLUMNS = ['organization_id', ...Object.keys(COLUMNS), 'is_hard', 'is_active'];

/** @returns columns that the table lacks, all where there is no table; `needed`: those without which no row of it can be read */
export function missingBudgetColumns(connection: Connection, which: 'all' | 'needed'): readonly string[] {
  const present = columnsOf(connection, TABLE);
  return (which === 'all' ? OWN_COLUMNS : NEEDED).filter((name) => !present.has(name));
}

/** @returns the entries of one organization, or of all that have any, by organization, measure, period and scope; those that are off, too */
export function readBudgetEntries(connection: Connection, organization?: string): readonly BudgetEntry[] {
  const entriesOf = prepareBudgetEntries(connection);
  return (organization === undefined ? budgeted(connection) : [organization]).flatMap(entriesOf);
}

function budgeted(connection: Connection): readonly string[] {
  const own =
    missingBudgetColumns(connection, 'needed').length === 0 ? [`SELECT organization_id AS id FROM ${TABLE}`] : [];
  const present = columnsOf(connection, CLIENTS);
  const limited = present.has('id') && present.has('monthly_limit');
  const mai = limited ? [`SELECT id FROM ${CLIENTS} WHERE monthly_limit IS NOT NULL`] : [];
  const named = ['SELECT NULL AS id', ...own, ...mai].join(' UNION ');
  return prepareColumn(
    connection,
    `SELECT id FROM (${named}) named WHERE typeof(id) = 'text' ORDER BY id COLLATE BINARY`,
  )() as string[];
}

/** @returns a function that reads all entries of an organization, always in the same order; none where there is no table */
function prepareBudgetEntries(connection: Connection): (organization: string) => readonly BudgetEntry[] {
  const own = prepareRows(connection);
  const client = prepareClient(connection);
  return (organization) => entriesOf(organization, own(organization), client(organization));
}

function entriesOf(organization: string, rows: readonly Row[], { limit, zone }: Client): readonly BudgetEntry[] {
  const entries = rows.map((row) => parseEntry(organization, row, zone));
  const isReplaced = entries.some(({ budget, row }) => budget !== undefined && isMonthly(row));
  if (limit === null || isReplaced) return entries;
  return [...entries, parseEntry(organization, { ...MAI_ROW, amount: limit }, zone, true)];
}

/** @returns those of one organization that are switched on */
export const budgetsFrom = (organization: string, rows: readonly Row[], client: Client): readonly StoredBudget[] =>
  entriesOf(organization, rows, client).flatMap(({ isActive, budget }) =>
    isActive && budget !== undefined ? [budget] : [],
  );

export function prepareBudgets(connection: Connection) {
  const [own, client] = [prepareRows(connection), prepareClient(connection)];
  return (organization: string) => budgetsFrom(organization, own(organization), client(organization));
}

/** Most organizations of which budgets are read at once. */
export const MOST_ORGANIZATIONS = 1_000;

/** @returns a function that reads the budgets that are switched on, of the first organizations that have any */
export function prepareAllBudgets(connection: Connection): () => readonly StoredBudget[] {
  const budgetsOf = prepareBudgets(connection);
  return () => budgeted(connection).slice(0, MOST_ORGANIZATIONS).flatMap(budgetsOf);
}

const isMonthly = ({ measure, period, scope }: Row): boolean =>
  measure === 'usd' && period === 'month' && scope === 'organization';

const MAI_ROW: Omit<Row, 'amount'> = {
  ...{ id: MAI_LIMIT, measure: 'usd', period: 'month', scope: 'organization', soft_percent: 80, active: 1, hard: 1 },
  ...{ time_zone: null, valid_from: null, valid_to: null, raised: 0, raised_until: null },
};

function prepareRows(connection: Connection): (organization: string) => readonly Row[] {
  if (missingBudgetColumns(connection, 'needed').length > 0) return () => [];
  const present = columnsOf(connection, TABLE);
  const read = Object.entries(COLUMNS).map(([name, missing]) =>
    present.has(name) ? name : `${missing ?? ''} AS ${name}`,
  );
  const hard = present.has('is_hard') ? `NOT coalesce(${isOff('is_hard')}, FALSE)` : 'TRUE';
  const rows = connection.prepare<[string], Row>(
    `SELECT ${read.join(', ')}, ${activeCondition(present.has('is_active'))} AS active, ${hard} AS hard FROM ${TABLE}
     WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text'
     ORDER BY measure COLLATE BINARY, period COLLATE BINARY, scope COLLATE BINARY, id COLLATE BINARY`,
  );
  return (organization) => rows.all(organization);
}

export const NO_CLIENT: Client = { name: null, limit: null, zone: null };

/** What mAI's table says of an organization: its name, its limit in US dollars a month, and the time zone of all of its budgets. */
function prepareClient(connection: Connection) {
  const present = columnsOf(connection, CLIENTS);
  const read = (column: string) => (present.has('id') && present.has(column) ? column : 'NULL');
  const columns = `${read('name')} AS name, ${read('monthly_limit')} AS "limit", nullif(${read('timezone')}, '') AS zone`;
  const rows = present.has('id')
    ? connection.prepare<[string], Client>(`SELECT ${columns} FROM ${CLIENTS} WHERE id = ?`)
    : undefined;
  return (organization: string): Client => rows?.get(organization) ?? NO_CLIENT;
}

/** @returns a function that reads what mAI calls an organization; undefined where it has no name for it */
export function prepareOrganizationName(connection: Connection): (organization: string) => string | undefined {
  const client = prepareClient(connection);
  return (organization) => nameOf(client(organization));
}

export const nameOf = ({ name }: Client): string | undefined =>
  typeof name === 'string' && name.trim() !== '' ? name : undefined;

function parseEntry(organization: string, row: Row, organizationZone: unknown, isMai = false): BudgetEntry {
  const faults: string[] = [];
  /** @returns the value where it is one, and otherwise what stands for it */
  const read = <T>(name: keyof typeof COLUMNS, parse: (value: unknown) => T | undefined, otherwise: T): T => {
    if (row[name] === null) return otherwise;
    const value = parse(row[name]);
    if (value === undefined) faults.push(`${name} ${CONSEQUENCES[name] ?? 'means nothing'}`);
    return value ?? otherwise;
  };
  const needed = {
    id: typeof row.id === 'string' ? row.id : undefined,
    measure: oneOf(BUDGET_MEASURES, row.measure),
    amount: toAmount(row.amount),
    period: oneOf(PERIODS, row.period),
    scope: parseScope(row.scope),
  };
  const own = read('time_zone', parseTimeZone, undefined);
  const timeZone = own ?? parseTimeZone(organizationZone);
  if (own === undefined && timeZone === undefined && organizationZone !== null) {
    faults.push("timezone in mAI's client_organizations is none of IANA's list, so MODELGATE_TIME_ZONE counts");
  }
  const rest = {
    softPercent: read('soft_percent', toPercent, undefined),
    raise: {
      amount: read('raised', toAmount, 0),
      until: row.raised_until === null ? FOREVER : read('raised_until', toMoment, NEVER),
    },
    validFrom: read('valid_from', toMoment, NEVER),
    validTo: read('valid_to', toMoment, FOREVER),
    ...{ isHard: row.hard === 1, timeZone, organization: toOrganizationId(organization) },
  };
  const entry = { organization, row, isMai, isActive: row.active === 1 };
  if (isWhole(needed)) return { ...entry, budget: { ...needed, ...rest }, faults };
  const unread = Object.entries(needed).flatMap(([name, value]) => (value === undefined ? [name] : []));
  return { ...entry, budget: undefined, faults: [`${unread.join(' and ')} cannot be read, so it limits nothing`] };
}

const isWhole = <T extends object>(some: T): some is { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.values(some).every((value) => value !== undefined);

/** What becomes of a value that cannot be read: a budget is never wider by it. */
const CONSEQUENCES: Partial<Record<keyof typeof COLUMNS, string>> = {
  time_zone: "is none of IANA's list, so that of the organization or MODELGATE_TIME_ZONE counts",
  soft_percent: 'is no number from 1 to 100, so nothing is said before it is used up',
  raised: 'is no amount, so it is not raised',
  raised_until: 'is no moment in milliseconds, so it is not raised',
  valid_from: 'is no moment in milliseconds, so it counts already',
  valid_to: 'is no moment in milliseconds, so it does not end',
};

const [NEVER, FOREVER] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

const oneOf = <T extends string>(all: readonly T[], value: unknown): T | undefined => all.find((one) => one === value);

const toAmount = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && Number.isFinite(value) ? value : undefined;
const toPercent = (value: unknown): number | undefined =>
  typeof value === 'number' && value > 0 && value <= 100 ? value : undefined;
const toMoment = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

function parseScope(value: unknown): StoredBudget['scope'] | undefined {
  if (value === 'organization' || value === 'user') return { kind: value };
  const pattern = typeof value === 'string' && value.startsWith('model:') ? value.slice('model:'.length) : '';
  return parsePattern(pattern) === undefined ? undefined : { kind: 'model', pattern };
}
