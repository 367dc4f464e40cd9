/** Rows of the tables of organizations that do nothing, or probably not what was meant; and the backend's admins. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import type { Connection } from '../store/database.ts';
import { type BudgetEntry, missingBudgetColumns, readBudgetEntries } from '../store/budgets.ts';
import { type Schema, activeCondition, columnsOf, isOff, isOn } from '../store/schema.ts';
import { type Verdict, ok, problem, warning } from './finding.ts';

const SHOWN = 3;

type Row = Readonly<{ total: number; example: unknown; organization?: unknown; key?: unknown }>;
type Remedy = string | ((rows: readonly Row[]) => string);
/** `sql` stands behind SELECT, and gives an `example`. */
type Question = Readonly<Record<'what' | 'sql', string> & { remedy: Remedy }>;

/** Rows of organizations that mean nothing, or something else than they say. */
export function checkForeignRows(connection: Connection, schema: Schema): readonly Verdict[] {
  const hasBudgets = missingBudgetColumns(connection, 'needed').length === 0;
  const asked = hasBudgets ? [...questions(schema), BUDGETS_WITHOUT_MEMBERS] : questions(schema);
  const found = asked.flatMap(({ what, sql, remedy }) => {
    const limited = `SELECT *, count(*) OVER () AS total FROM (SELECT ${sql}) asked LIMIT ${SHOWN}`;
    const rows = connection.prepare<[], Row>(limited).all();
    const total = rows[0]?.total ?? 0;
    if (total === 0) return [];
    const examples = rows.map(({ example }) => quoted(String(example))).join(', ');
    const rowsHave = total === 1 ? what.replace(/^(\w+)s have an id/, '$1 has an id') : what;
    const finding = `${total.toLocaleString('en')} ${rowsHave}: ${examples}${total > rows.length ? ', …' : ''}.`;
    return [warning(finding, typeof remedy === 'string' ? remedy : remedy(rows))];
  });
  return found.length > 0 ? found : [ok('Every member is a user, and every row means what it says.')];
}

const BUDGETS_WITHOUT_MEMBERS: Question = {
  what: 'organizations have a budget and no member',
  sql: `organization_id AS example FROM organization_budgets b WHERE NOT EXISTS (
      SELECT 1 FROM organization_members m WHERE m.organization_id = b.organization_id) GROUP BY organization_id`,
  remedy: 'It limits nothing. Look whether the id is misspelt: `modelgate org list`',
};

const questions = (schema: Schema): readonly Question[] => [
  {
    what: 'memberships belong to users that the backend does not have',
    sql: `user_id AS example FROM organization_members m
      WHERE NOT EXISTS (SELECT 1 FROM "user" u WHERE u.id = m.user_id)`,
    remedy: 'They give nothing. Delete them: `modelgate member remove USER --org ORGANIZATION --purge`',
  },
  {
    what: 'organizations have models and no member',
    sql: `organization_id AS example FROM organization_models o WHERE NOT EXISTS (
      SELECT 1 FROM organization_members m WHERE m.organization_id = o.organization_id) GROUP BY organization_id`,
    remedy: 'Add members, or look whether the id is misspelt: `modelgate member add USER --org ORGANIZATION`',
  },
  ...(schema.clientOrganizations ? [UNKNOWN_ORGANIZATIONS] : []),
  ...oddities('organization_members', schema.memberActive),
  ...oddities('organization_models', schema.grantActive),
  {
    what: 'grants have a * that is not at the end, where it is a plain character',
    sql: "model_id AS example FROM organization_models WHERE model_id LIKE '%*_%'",
    remedy:
      'Only a last * covers many models, such as openai/*. Allow what was meant: `modelgate model allow ID --org ORGANIZATION`',
  },
  {
    what: "rows of the backend's model table have an id that a grant would read as a pattern",
    sql: "id AS example FROM model WHERE typeof(id) = 'text' AND id LIKE '%*'",
    remedy:
      'No command links them, and no grant can name one alone. Look who has made them, and delete them in the backend or give them another id.',
  },
  {
    what: "grants cover every model with their beginning, and are the id of one row of the backend's model table too",
    sql: `organization_id || ' ' || model_id AS example FROM organization_models
      WHERE model_id LIKE '%*' AND ${activeCondition(schema.grantActive)} AND model_id IN (SELECT id FROM model)`,
    remedy:
      'Where the row was meant, give the row another id in the backend, and switch the grant off: `modelgate model deny ID --org ORGANIZATION`',
  },
];

/** The foreign key of mAI's tables, which SQLite does not enforce here. The one on `model` says nothing: most models have no row. */
const UNKNOWN_ORGANIZATIONS: Question = {
  what: "organizations are not in mAI's client_organizations",
  sql: `organization_id AS example FROM
    (SELECT organization_id FROM organization_members UNION SELECT organization_id FROM organization_models) named
    WHERE NOT EXISTS (SELECT 1 FROM client_organizations c WHERE c.id = named.organization_id)`,
  remedy: 'They count for the gate. Add them in mAI, or look whether the id is misspelt.',
};

const KINDS = {
  organization_members: { key: 'user_id', rows: 'memberships', change: 'member add or remove', off: 'member remove' },
  organization_models: { key: 'model_id', rows: 'grants', change: 'model allow or deny', off: 'model deny' },
};

function oddities(table: keyof typeof KINDS, hasActive: boolean): readonly Question[] {
  const { key, rows, change, off } = KINDS[table];
  const both = `organization_id || ' ' || ${key}`;
  const isOdd = (column: string): string =>
    `NOT (typeof(${column}) = 'text') OR ${column} = '' OR ${column} != trim(${column}, ${SPACES})`;
  const unclear = {
    what: `${rows} have an is_active that is neither 0 nor 1 (NULL counts as on, all else as off)`,
    sql: `${both} || ' ' || coalesce(CAST(is_active AS TEXT), 'NULL') AS example FROM ${table}
      WHERE is_active IS NULL OR NOT (${isOn('is_active')} OR ${isOff('is_active')})`,
    remedy: `Say what is meant with modelgate ${change}.`,
  };
  return [
    {
      what: `${rows} stand more than once, and one that is on is enough`,
      sql: `${both} AS example FROM ${table} GROUP BY organization_id, ${key} HAVING count(*) > 1`,
      remedy: `Switch all rows of one at once with modelgate ${change}.`,
    },
    {
      what: `${rows} have an id that is empty, no text, or begins or ends with a space`,
      sql: `organization_id AS organization, ${key} AS key, ${both} AS example FROM ${table}
        WHERE ${isOdd('organization_id')} OR ${isOdd(key)}`,
      remedy: (found) =>
        `Ids are compared as they are, so these match nothing that is spelt without it. ${purging(off, found)}`,
    },
    ...(hasActive ? [unclear] : []),
  ];
}

function purging(off: string, rows: readonly Row[]): string {
  const commands = rows.flatMap(({ organization, key }) => {
    if (typeof organization !== 'string' || organization === '' || typeof key !== 'string') return [];
    return [`\`${shellCommand('modelgate', ...off.split(' '), key, '--org', organization, '--purge')}\``];
  });
  if (commands.length === 0) return 'Delete them by hand, and write them anew.';
  return `Write them anew, and delete these: ${commands.join(' ')}`;
}

const SPACES = "' \t\n\r\u00a0'";

/** Budgets that limit nothing, or not as they say; silent where there are none. */
export function checkBudgets(connection: Connection): readonly Verdict[] {
  const missing = missingBudgetColumns(connection, 'needed');
  const [lacking, present] = [missing.join(', '), columnsOf(connection, 'organization_budgets').size > 0];
  const table = present && missing.length > 0 ? [problem(`No budget counts: its table has no ${lacking}.`, MEND)] : [];
  const entries = readBudgetEntries(connection).filter(({ isActive, faults }) => isActive && faults.length > 0);
  const { yes: odd = [], no: unread = [] } = Object.groupBy(entries, ({ budget }) => (budget ? 'yes' : 'no'));
  const said = (found: readonly BudgetEntry[]): string =>
    `${found.slice(0, SHOWN).map(faultsOf).join('; ')}${found.length > SHOWN ? '; …' : ''}.`;
  return [
    ...table,
    ...(unread.length === 0 ? [] : [problem(`${budgets(unread)} limit nothing: ${said(unread)}`, MEND)]),
    ...(odd.length === 0 ? [] : [warning(`${budgets(odd)} count otherwise than they say: ${said(odd)}`, MEND)]),
  ];
}

const MEND = 'Say what is meant: `modelgate budget set ORGANIZATION --usd AMOUNT` To see all: `modelgate budget list`';
const budgets = ({ length }: readonly BudgetEntry[]): string => `${length.toLocaleString('en')} of the budgets`;

const faultsOf = ({ organization, isMai, row, faults }: BudgetEntry): string =>
  `${isMai ? `mAI's monthly_limit of ${quoted(organization)}` : quoted(`${organization} ${keyOf(row)}`)}: its ${faults.join(', its ')}`;
const keyOf = ({ measure, period, scope }: BudgetEntry['row']): string =>
  [measure, period, scope].map(String).join(' ');

/** The deployment guide's step 4, `WHERE role = 'admin'`. */
export function checkAdmins(connection: Connection): Verdict {
  const admins = connection
    .prepare<[], { id: string; email: string | null; total: number }>(
      `SELECT id, email, count(*) OVER () AS total FROM "user" WHERE role = 'admin'
       ORDER BY lower(email), id LIMIT 5`,
    )
    .all();
  const total = admins[0]?.total ?? 0;
  if (total > 0) {
    const some = admins.map(({ id, email }) => quoted(email ?? id).slice(1, -1)).join(', ');
    const more = total > admins.length ? ` and ${(total - admins.length).toLocaleString('en')} more` : '';
    return ok(`The backend has ${total === 1 ? 'one' : total.toLocaleString('en')}: ${some}${more}.`);
  }
  return warning(
    'No user of the backend has the role admin.',
    'Register at the backend, whose first user becomes its admin, or set the role of a user to \'admin\' in its table "user".',
  );
}
