/**
 * Which organizations a file knows, and the one that a command is about. The deployment guide has no table of them: an
 * organization exists where a member, a model or mAI's own table names it, or where the environment does.
 */
import { OperationFailure } from '../backend-file/failure.ts';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { nearest } from '../nearest.ts';
import type { Connection } from '../store/database.ts';
import { columnsOf } from '../store/schema.ts';

export interface ChosenOrganization {
  readonly id: string;
  /** It is the one of the environment, which exists before it has any row. */
  readonly isConfigured: boolean;
  /** `--create`: no row need name it yet. */
  readonly mayBeNew: boolean;
}

/**
 * @param use what the command does with the organization
 * @returns whether it exists already; false only where it may be new
 * @throws OperationFailure where nothing names it and it may not be new, or where its id cannot be that of a new one
 */
export function requireOrganization(
  connection: Connection,
  chosen: ChosenOrganization,
  use: 'read' | 'change' | 'add',
): boolean {
  if (chosen.isConfigured || isNamed(connection, chosen.id)) return true;
  if (chosen.mayBeNew) {
    requireNewId(chosen.id);
    return false;
  }
  const known = knownOrganizations(connection);
  throw new OperationFailure(
    [
      `There is no organization ${quoted(chosen.id)}.`,
      ...(use === 'read' ? [] : ['Nothing was changed.']),
      known.length === 0 ? 'There is none yet.' : whichThereAre(chosen.id, known),
      ...(use === 'add' ? ['--create makes a new one.'] : []),
    ].join(' '),
    { code: 'no_such_organization' },
  );
}

function whichThereAre(typed: string, known: readonly string[]): string {
  const meant = nearest(typed, known) ?? known.find((id) => id.toLowerCase().startsWith(typed.trim().toLowerCase()));
  const some = meant === undefined ? `Known: ${quotedFew(known, MOST_NAMED)}.` : `Did you mean ${quoted(meant)}?`;
  return `${some} All of them: \`modelgate org list\``;
}

const MOST_NAMED = 5;

/** Of an organization that no row names yet: what needs no quotes anywhere. Its name may be any text. */
const NEW_ID = /^[A-Za-z0-9_.:-]{1,64}$/;

function requireNewId(id: string): void {
  if (NEW_ID.test(id)) return;
  throw new OperationFailure(
    `${quoted(id)} cannot be the id of a new organization: at most 64 letters from a to z, digits and _ - . : are. Nothing was changed. Its name may be any text.`,
    { code: 'misused' },
  );
}

/** @throws OperationFailure where no row names the organization, and a new one cannot have this id */
export function requireUsableId(connection: Connection, id: string): void {
  if (!isNamed(connection, id)) requireNewId(id);
}

const NAMED_BY = {
  organization_members: 'organization_id',
  organization_models: 'organization_id',
  client_organizations: 'id',
} as const;

/** Tables of `NAMED_BY` that this file has, and their columns. */
const namingTables = (connection: Connection) =>
  Object.entries(NAMED_BY).filter(([table, column]) => columnsOf(connection, table).has(column));

const isNamed = (connection: Connection, id: string): boolean =>
  namingTables(connection).some(
    ([table, column]) => connection.prepare(`SELECT 1 FROM ${table} WHERE ${column} = ? LIMIT 1`).get(id) !== undefined,
  );

/** @returns every organization that a row names, sorted; a table of 100,000 members is read through its index */
export function knownOrganizations(connection: Connection): readonly string[] {
  const ids = namingTables(connection).flatMap(([table, column]) =>
    connection.prepare<[]>(`SELECT DISTINCT ${column} FROM ${table}`).pluck().all(),
  );
  return [...new Set(ids.filter((id) => typeof id === 'string'))].toSorted();
}
