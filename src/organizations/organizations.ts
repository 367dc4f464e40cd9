/** The organizations of a file: those that a member, a model or mAI's own table names. The guide has no table of them. */
import { OperationFailure } from '../backend-file/failure.ts';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { nearest } from '../nearest.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, columnsOf } from '../store/schema.ts';
import { readColumn, readCount } from './rows.ts';

export interface ChosenOrganization {
  readonly id: string;
  readonly isConfigured: boolean;
  readonly mayBeNew: boolean;
}

/** @returns whether mAI leaves it on, and whether it is new @throws OperationFailure where it does not exist and may not be new */
export function requireOrganization(
  connection: Connection,
  schema: Schema,
  { id, isConfigured, mayBeNew }: ChosenOrganization,
  use: 'read' | 'change' | 'add',
) {
  const isActive = prepareGrants(connection, schema).isActive(id);
  if (isConfigured || isNamed(connection, id)) return { created: false, isActive };
  if (mayBeNew) {
    requireUsableId(connection, id);
    return { created: true, isActive };
  }
  const known = knownOrganizations(connection);
  const meant = nearest(id, known) ?? known.find((one) => one.toLowerCase().startsWith(id.trim().toLowerCase()));
  const some = meant === undefined ? `Known: ${quotedFew(known, 5)}.` : `Did you mean ${quoted(meant)}?`;
  const others = known.length === 0 ? 'There is none yet.' : `${some} All of them: \`modelgate org list\``;
  const kept = use === 'read' ? '' : ' Nothing was changed.';
  throw new OperationFailure(
    `There is no organization ${quoted(id)}.${kept} ${others}${use === 'add' ? ' --create makes a new one.' : ''}`,
    { code: 'no_such_organization' },
  );
}

const NEW_ID = /^[A-Za-z0-9_.:-]{1,64}$/;

/** @throws OperationFailure where no row names the organization, and a new one cannot have this id */
export function requireUsableId(connection: Connection, id: string): void {
  if (NEW_ID.test(id) || isNamed(connection, id)) return;
  throw new OperationFailure(
    `${quoted(id)} cannot be the id of a new organization: at most 64 letters from a to z, digits and _ - . : are. Nothing was changed. Its name may be any text.`,
    { code: 'misused' },
  );
}

const namingTables = (connection: Connection) =>
  [
    ['organization_members', 'organization_id'],
    ['organization_models', 'organization_id'],
    ['client_organizations', 'id'],
  ].filter(([table = '', column = '']) => columnsOf(connection, table).has(column));

const isNamed = (connection: Connection, id: string): boolean =>
  namingTables(connection).some(
    ([table, column]) => readCount(connection, `SELECT 1 FROM ${table} WHERE ${column} = $id LIMIT 1`, { id }) === 1,
  );

/** @returns every organization that a row names, sorted; a table of 100,000 members is read through its index */
export function knownOrganizations(connection: Connection): readonly string[] {
  const ids = namingTables(connection).flatMap(([table, column]) =>
    readColumn<unknown>(connection, `SELECT DISTINCT ${column} FROM ${table}`),
  );
  return [...new Set(ids.filter((id) => typeof id === 'string'))].toSorted();
}
