/** Whom and what the measured queries ask for: real rows, in turn, because one that is always the same is always near. */
import { OperationFailure } from '../backend-file/failure.ts';
import { requirePerson } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import type { Connection } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';

/** Undefined: many of them in turn. */
export interface Chosen {
  /** Id or e-mail address. */
  readonly user: string | undefined;
  readonly organization: string | undefined;
}

export interface BenchSubjects {
  readonly users: readonly string[];
  readonly organizations: readonly string[];
  readonly models: readonly string[];
  /** Never to be shown. */
  readonly apiKeys: readonly string[];
}

const MOST = 1_000;

/** @throws OperationFailure where there is no user to ask for */
export function readSubjects(connection: Connection, { user, organization }: Chosen): BenchSubjects {
  const all = (sql: string, ...values: string[]): readonly string[] =>
    connection
      .prepare(sql)
      .pluck()
      .all(...values)
      .filter((value) => typeof value === 'string');
  // spread over the whole table: neighbours share a page
  const users = user === undefined ? all(MEMBERS_SPREAD) : [requirePerson(connection, user).id];
  if (users.length === 0) {
    throw new OperationFailure(
      'No user is a member of any organization, so there is no user to ask for. Nothing was changed. Add one first: `modelgate member add USER --org ORGANIZATION`',
    );
  }
  const organizations = organization === undefined ? all(LARGEST) : all(NAMED, organization);
  if (organization !== undefined && organizations.length === 0) {
    throw new OperationFailure(
      `No model belongs to an organization ${quoted(organization)}. Nothing was changed. To see those that there are: \`modelgate org list\``,
      { code: 'no_such_organization' },
    );
  }
  const keys = API_KEYS[readSchema(connection).apiKeys];
  return {
    users,
    organizations: organizations.length > 0 ? organizations : ['no organization'],
    models: orElse(all(MODELS), 'no model'),
    apiKeys: orElse(keys === undefined ? [] : all(keys), 'sk-00000000000000000000000000000000'),
  };
}

const orElse = (values: readonly string[], stand_in: string): readonly string[] =>
  values.length > 0 ? values : [stand_in];

const MEMBERS_SPREAD = `
  SELECT user_id FROM (SELECT user_id, row_number() OVER () AS place, count(*) OVER () AS total FROM organization_members)
  WHERE total <= ${MOST} OR (place * ${MOST}) / total != ((place - 1) * ${MOST}) / total LIMIT ${MOST}`;

const LARGEST =
  'SELECT organization_id FROM organization_models GROUP BY organization_id ORDER BY count(*) DESC, organization_id LIMIT 1';

const NAMED = 'SELECT organization_id FROM organization_models WHERE organization_id = ? LIMIT 1';

const MODELS = `SELECT DISTINCT model_id FROM organization_models LIMIT ${MOST}`;

/** By `Schema.apiKeys`. */
const API_KEYS = {
  table: `SELECT "key" FROM api_key LIMIT ${MOST}`,
  column: `SELECT api_key FROM "user" WHERE api_key IS NOT NULL LIMIT ${MOST}`,
  none: undefined,
};
