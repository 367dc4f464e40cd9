/**
 * Which organizations a file knows, and the one that a command is about. The deployment guide has no table of them: an
 * organization exists where a member, a model or mAI's own table names it, or where the environment does.
 */
import type { Connection } from '../../store/database.ts';
import { columnsOf } from '../../store/schema-reader.ts';
import { OperationFailure } from '../failure.ts';
import { quoted, quotedFew } from '../quoted.ts';

export interface ChosenOrganization {
  readonly id: string;
  /** It is the one of the environment, which exists before it has any row. */
  readonly isConfigured: boolean;
  /** `--create`: nobody need have named it yet. */
  readonly mayBeNew: boolean;
}

/** What a command that adds something has to say of the organization itself. */
export interface OrganizationState {
  /** No row had named it before. */
  readonly isNew: boolean;
  /** False where mAI's `client_organizations` switches it off: then nothing in it counts. */
  readonly isActive: boolean;
}

/**
 * @returns whether it exists already; false only where it may be new
 * @throws OperationFailure where nobody has named it and it may not be new
 */
export function requireOrganization(connection: Connection, chosen: ChosenOrganization): boolean {
  if (chosen.isConfigured || isNamed(connection, chosen.id)) return true;
  if (chosen.mayBeNew) return false;
  const known = knownOrganizations(connection);
  const closest = known.toSorted((left, right) => closeness(right, chosen.id) - closeness(left, chosen.id));
  throw new OperationFailure(
    `No member and no model belongs to an organization ${quoted(chosen.id)}. Nothing was changed. ${
      known.length === 0 ? 'There is no organization yet.' : `Known: ${quotedFew(closest, MOST_NAMED)}.`
    } \`member add\` and \`model allow\` make a new one with --create.`,
    { code: 'no_such_organization' },
  );
}

const MOST_NAMED = 5;

/** How many characters two names begin with alike; of many names, those that were nearly typed come first. */
function closeness(name: string, typed: string): number {
  const [left, right] = [name.toLowerCase(), typed.toLowerCase()];
  let length = 0;
  while (length < left.length && left[length] === right[length]) length += 1;
  return length;
}

const NAMED_BY = {
  organization_members: 'organization_id',
  organization_models: 'organization_id',
  client_organizations: 'id',
} as const;

/** Tables of `NAMED_BY` that this file has, as `FROM` and column. */
function namingTables(connection: Connection): readonly { readonly table: string; readonly column: string }[] {
  return Object.entries(NAMED_BY)
    .filter(([table, column]) => columnsOf(connection, table).has(column))
    .map(([table, column]) => ({ table, column }));
}

function isNamed(connection: Connection, id: string): boolean {
  return namingTables(connection).some(
    ({ table, column }) =>
      connection.prepare(`SELECT 1 FROM ${table} WHERE ${column} = ? LIMIT 1`).get(id) !== undefined,
  );
}

/** @returns every organization that a row names, sorted; a table of 100,000 members is read through its index */
export function knownOrganizations(connection: Connection): readonly string[] {
  const ids = namingTables(connection).flatMap(({ table, column }) =>
    connection.prepare<[]>(`SELECT DISTINCT ${column} FROM ${table}`).pluck().all(),
  );
  return [...new Set(ids.filter((id) => typeof id === 'string'))].toSorted();
}
