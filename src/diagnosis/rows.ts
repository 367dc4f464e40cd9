/** Rows of the two tables of organizations that do nothing, or probably not what was meant; and the backend's admins. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import type { Connection } from '../store/database.ts';
import { type Schema, activeCondition, isOff, isOn } from '../store/schema.ts';
import { type Finding, ok, warning } from './finding.ts';

const NAME = 'foreign rows';
const SHOWN = 3;

interface Question {
  /** Counts the rows and names some, as `total` and `example`. */
  readonly sql: string;
  readonly say: (count: string, examples: string) => string;
  readonly remedy: string | ((rows: readonly Row[]) => string);
}

/** What is shown of a row; where the question asks for them, its two ids too. */
interface Row {
  readonly total: number;
  readonly example: unknown;
  readonly organization?: unknown;
  readonly key?: unknown;
}

/** @throws SqliteError where the file cannot be read */
export function checkForeignRows(connection: Connection, schema: Schema): readonly Finding[] {
  const found = questions(schema).flatMap(({ sql, say, remedy }) => {
    const rows = connection.prepare<[number], Row>(`${sql} LIMIT ?`).all(SHOWN);
    const [first] = rows;
    if (first === undefined || first.total === 0) return [];
    const examples = rows.map(({ example }) => quoted(String(example))).join(', ');
    const finding = say(first.total.toLocaleString('en'), `${examples}${first.total > rows.length ? ', …' : ''}`);
    return [warning(NAME, finding, typeof remedy === 'string' ? remedy : remedy(rows))];
  });
  return found.length > 0 ? found : [ok(NAME, 'Every member is a user, and every row means what it says.')];
}

const TOTAL = 'count(*) OVER () AS total';

const questions = (schema: Schema): readonly Question[] => [
  GONE_USERS,
  LONELY_GRANTS,
  ...(schema.clientOrganizations ? [UNKNOWN_ORGANIZATIONS] : []),
  ...perTable(schema),
  USELESS_PATTERNS,
  PATTERN_ROWS,
  ambiguousGrants(schema),
];

const GONE_USERS: Question = {
  sql: `SELECT user_id AS example, ${TOTAL} FROM organization_members m
    WHERE NOT EXISTS (SELECT 1 FROM "user" u WHERE u.id = m.user_id)`,
  say: (count, examples) => `${count} memberships belong to users that the backend does not have: ${examples}.`,
  remedy: 'They give nothing. Delete them: `modelgate member remove USER --org ORGANIZATION --purge`',
};

const LONELY_GRANTS: Question = {
  sql: `SELECT organization_id AS example, ${TOTAL} FROM organization_models o
    WHERE NOT EXISTS (SELECT 1 FROM organization_members m WHERE m.organization_id = o.organization_id)
    GROUP BY organization_id`,
  say: (count, examples) => `${count} organizations have models and no member: ${examples}.`,
  remedy: 'Add members, or look whether the id is misspelt: `modelgate member add USER --org ORGANIZATION`',
};

/** The foreign key of mAI's tables, which SQLite does not enforce here. The one on `model` says nothing: most models have no row. */
const UNKNOWN_ORGANIZATIONS: Question = {
  sql: `SELECT organization_id AS example, ${TOTAL} FROM (
      SELECT organization_id FROM organization_members UNION SELECT organization_id FROM organization_models) named
    WHERE NOT EXISTS (SELECT 1 FROM client_organizations c WHERE c.id = named.organization_id)`,
  say: (count, examples) => `${count} organizations are not in mAI's client_organizations: ${examples}.`,
  remedy: 'They count for the gate. Add them in mAI, or look whether the id is misspelt.',
};

const USELESS_PATTERNS: Question = {
  sql: `SELECT model_id AS example, ${TOTAL} FROM organization_models
    WHERE instr(substr(model_id, 1, length(model_id) - 1), '*') > 0`,
  say: (count, examples) =>
    `${count} grants have a * that is not at the end, where it is a plain character: ${examples}.`,
  remedy:
    'Only a last * covers many models, such as openai/*. Allow what was meant: `modelgate model allow ID --org ORGANIZATION`',
};

const PATTERN_ROWS: Question = {
  sql: `SELECT id AS example, ${TOTAL} FROM model WHERE typeof(id) = 'text' AND substr(id, -1) = '*'`,
  say: (count, examples) =>
    `${count} rows of the backend's model table have an id that a grant would read as a pattern: ${examples}.`,
  remedy:
    'No command links them, and no grant can name one alone. Look who has made them, and delete them in the backend or give them another id.',
};

const ambiguousGrants = ({ grantActive }: Schema): Question => ({
  sql: `SELECT organization_id || ' ' || model_id AS example, ${TOTAL} FROM organization_models
    WHERE substr(model_id, -1) = '*' AND ${activeCondition(grantActive)} AND model_id IN (SELECT id FROM model)`,
  say: (count, examples) =>
    `${count} grants cover every model with their beginning, and are the id of one row of the backend's model table too: ${examples}.`,
  remedy:
    'Where the row was meant, give the row another id in the backend, and switch the grant off: `modelgate model deny ID --org ORGANIZATION`',
});

/** What can be odd in both tables. */
function perTable({ memberActive, grantActive }: Schema): readonly Question[] {
  return (
    [
      ['organization_members', 'user_id', 'memberships', memberActive, 'member'],
      ['organization_models', 'model_id', 'grants', grantActive, 'model'],
    ] as const
  ).flatMap(([table, key, rows, hasActive, command]): readonly Question[] => {
    const both = `organization_id || ' ' || ${key}`;
    const change = command === 'member' ? 'member add or remove' : 'model allow or deny';
    return [
      {
        sql: `SELECT ${both} AS example, ${TOTAL} FROM ${table} GROUP BY organization_id, ${key} HAVING count(*) > 1`,
        say: (count, examples) => `${count} ${rows} stand more than once, and one that is on is enough: ${examples}.`,
        remedy: `Switch all rows of one at once with modelgate ${change}.`,
      },
      {
        sql: `SELECT ${both} AS example, organization_id AS organization, ${key} AS key, ${TOTAL} FROM ${table}
          WHERE typeof(organization_id) != 'text' OR typeof(${key}) != 'text' OR organization_id = '' OR ${key} = ''
            OR organization_id != trim(organization_id, ${SPACES}) OR ${key} != trim(${key}, ${SPACES})`,
        say: (count, examples) =>
          `${count} ${count === '1' ? rows.replace(/s$/, ' has') : `${rows} have`} an id that is empty, no text, or begins or ends with a space: ${examples}.`,
        remedy: (found) =>
          `Ids are compared as they are, so these match nothing that is spelt without it. ${purging(command, found)}`,
      },
      ...(hasActive
        ? [
            {
              sql: `SELECT ${both} || ' ' || coalesce(is_active, 'NULL') AS example, ${TOTAL} FROM ${table}
                WHERE is_active IS NULL OR NOT (${isOn('is_active')} OR ${isOff('is_active')})`,
              say: (count: string, examples: string) =>
                `${count} ${rows} have an is_active that is neither 0 nor 1 (NULL counts as on, all else as off): ${examples}.`,
              remedy: `Say what is meant with modelgate ${change}.`,
            },
          ]
        : []),
    ];
  });
}

/** @returns a command for each row that one can name */
function purging(command: 'member' | 'model', rows: readonly Row[]): string {
  const verb = command === 'member' ? 'remove' : 'deny';
  const commands = rows.flatMap(({ organization, key }) =>
    typeof organization === 'string' && organization !== '' && typeof key === 'string'
      ? [`\`${shellCommand('modelgate', command, verb, key, '--org', organization, '--purge')}\``]
      : [],
  );
  return commands.length === 0
    ? 'Delete them by hand, and write them anew.'
    : `Write them anew, and delete these: ${commands.join(' ')}`;
}

const SPACES = "' ' || char(9) || char(10) || char(13) || char(160)";

const ADMINS = 'admins';
const SHOWN_ADMINS = 5;

/** The deployment guide's step 4, `WHERE role = 'admin'`. @throws SqliteError where the file cannot be read */
export function checkAdmins(connection: Connection): Finding {
  const count = connection.prepare<[], number>(`SELECT count(*) FROM "user" WHERE role = 'admin'`).pluck().get() ?? 0;
  if (count === 0) {
    const hasUsers = connection.prepare('SELECT 1 FROM "user" LIMIT 1').get() !== undefined;
    return warning(
      ADMINS,
      hasUsers ? 'No user of the backend has the role admin.' : 'The backend has no user yet, and so no admin.',
      hasUsers
        ? "Set the role of one user to 'admin' in the backend's table \"user\"."
        : 'Register at the backend: the first user becomes its admin.',
    );
  }
  const some = connection
    .prepare<[number], { id: string; email: string | null }>(
      `SELECT id, email FROM "user" WHERE role = 'admin' ORDER BY lower(email), id LIMIT ?`,
    )
    .all(SHOWN_ADMINS)
    .map(({ id, email }) => quoted(email ?? id).slice(1, -1));
  const more = count > some.length ? ` and ${(count - some.length).toLocaleString('en')} more` : '';
  return ok(ADMINS, `The backend has ${count === 1 ? 'one' : count.toLocaleString('en')}: ${some.join(', ')}${more}.`);
}
