/** The members of an organization: listed, added, removed. Each change is one transaction, done whole or not at all. */
import { refuseAll } from '../backend-file/failure.ts';
import { type Person, findPeople, unknownPerson } from '../backend-file/backend.ts';
import { quoted, toDate } from '../backend-file/text.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition, columnsOf } from '../store/schema.ts';
import { MEMBERS_OF, linkUsers } from './linking.ts';
import { type Obstacle, obstacleOfRole } from './obstacles.ts';
import { type ChosenOrganization, requireOrganization } from './organizations.ts';
import { type RowWriter, MEMBERS, writeRows } from './rows.ts';

/** @returns members by e-mail address @throws OperationFailure as `reading`, and where no row names the organization */
export const listMembers = (operation: Operation, chosen: ChosenOrganization) =>
  reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    return { organization: chosen.id, members: readMembers(connection, schema, chosen.id) };
  });

interface MemberRow {
  readonly id: string;
  readonly known: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string | null;
  readonly organization_role: string | null;
  readonly active: number;
  /** Seconds since 1970, or whatever a table made by hand holds. */
  readonly joined_at: number | string | null;
}

export type Member = ReturnType<typeof readMembers>[number];

/** A row whose user is no text is as invisible here as it is to the gate. */
export function readMembers(connection: Connection, schema: Schema, organization: string) {
  const columns = columnsOf(connection, MEMBERS.name);
  const statement = connection.prepare<[string], MemberRow>(
    `SELECT m.user_id AS id, u.id AS known, u.email, u.name, u.role,
       ${columns.has('role') ? 'm.role' : 'NULL'} AS organization_role,
       ${activeCondition(schema.memberActive, 'm')} AS active,
       ${columns.has('joined_at') ? 'm.joined_at' : 'NULL'} AS joined_at
     FROM organization_members m LEFT JOIN "user" u ON u.id = m.user_id
     WHERE m.organization_id = ? AND typeof(m.user_id) = 'text'
     ORDER BY u.email IS NULL, lower(u.email), m.user_id`,
  );
  const isOrganizationActive = prepareGrants(connection, schema).isActive(organization);
  return statement.all(organization).map(({ known, active, joined_at, ...user }) => {
    const reasons: Obstacle[] = [];
    if (active !== 1) reasons.push('inactive');
    const ofUser = known === null ? 'unknown_user' : obstacleOfRole(user.role);
    if (ofUser !== undefined) reasons.push(ofUser);
    if (!isOrganizationActive) reasons.push('organization_inactive');
    const state = { active: active === 1, joined_at: toDate(joined_at), counts: reasons.length === 0, reasons };
    return { ...user, ...state };
  });
}

/**
 * @param named ids or e-mail addresses
 * @param role in the organization; undefined: `member` for new ones, and whatever it is for the others
 * @returns beside the record: whether mAI's `client_organizations` leaves the organization on, and how many users had
 *   no membership at all before; no gate enrols these from now on
 * @throws OperationFailure where one of them is unknown, pending or banned; then no user was added
 */
export const addMembers = (
  operation: Operation,
  chosen: ChosenOrganization,
  { named, role }: { readonly named: readonly string[]; readonly role?: string | undefined },
) =>
  changing(operation, 'organizations', (connection, schema) => {
    const created = !requireOrganization(connection, chosen, 'add');
    const people = resolve(connection, named, 'No user was added.', (name, { person }) => {
      if (person === null) return unknownPerson(connection, name);
      if (person.role === 'banned') return `${quoted(name)} is banned in the backend.`;
      if (person.role !== null && person.role !== 'pending') return undefined;
      return `${quoted(name)} is pending: an admin of the backend has to approve the user first.`;
    });
    const firstTime = people.filter(({ id }) => !isAnywhere(connection, id)).length;
    const members = writeRows(connection, MEMBERS, chosen.id, (rows) =>
      people.map(({ id, person }): MemberChange => {
        return { id, email: person?.email ?? null, ...addOne(rows, id, role) };
      }),
    );
    const isActive = prepareGrants(connection, schema).isActive(chosen.id);
    return { record: { organization: chosen.id, created, members }, firstTime, isActive };
  });

export interface MemberChange {
  readonly id: string;
  /** Null where the backend no longer knows the user. */
  readonly email: string | null;
  readonly outcome: ReturnType<RowWriter['add' | 'switchOff' | 'purge']> | 'role_changed';
  /** In the organization, where it has changed. */
  readonly role?: { readonly before: string; readonly after: string };
}

function addOne(rows: RowWriter, id: string, role: string | undefined): Pick<MemberChange, 'outcome' | 'role'> {
  const outcome = rows.add(id, role);
  const before = outcome === 'added' || role === undefined ? undefined : rows.setRole(id, role);
  if (before === undefined || role === undefined) return { outcome };
  return { outcome: outcome === 'unchanged' ? 'role_changed' : outcome, role: { before, after: role } };
}

/** Whether the user has a row of any organization, switched on or off. */
const isAnywhere = (connection: Connection, user: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE user_id = ?').get(user) !== undefined;

/** The user that a name means; `person` is null where the backend has no such user, and the name is the id. */
interface Named {
  readonly id: string;
  readonly person: Person | null;
}

/**
 * @param refuse why a user cannot be changed, in a sentence
 * @returns each user once
 * @throws OperationFailure with `outcome`, and what is wrong about every one of them
 */
function resolve(
  connection: Connection,
  named: readonly string[],
  outcome: string,
  refuse: (name: string, user: Named) => string | undefined,
): readonly Named[] {
  const found = findPeople(connection, named);
  const users = new Map<string, Named>();
  const problems = named.flatMap((name, at) => {
    const one = found[at] ?? 'unknown';
    if (one === 'ambiguous') return [`Several users have the e-mail address ${quoted(name)}: give the id of one.`];
    const user = one === 'unknown' ? { id: name, person: null } : { id: one.id, person: one };
    users.set(user.id, user);
    return refuse(name, user) ?? [];
  });
  refuseAll(problems, outcome);
  return [...users.values()];
}

/**
 * The deployment guide's "add all active users": a user who has a row, switched off or not, keeps it.
 * @param role in the organization, on new rows
 * @param onProgress how many of how many missing users have been added
 * @returns as `addMembers`, in figures
 * @throws OperationFailure as `changing`, and where a rule of the table forbids a row
 */
export const addAllUsers = (
  operation: Operation,
  chosen: ChosenOrganization,
  {
    role = 'member',
    onProgress,
  }: { readonly role?: string | undefined; readonly onProgress: (done: number, total: number) => void },
) =>
  changing(operation, 'organizations', async (connection, schema) => {
    const { id } = chosen;
    const created = !requireOrganization(connection, chosen, 'add');
    const { total, kept, keptOff, firstTime } = countUsers(connection, schema, id);
    const { signal } = operation.patience;
    const links = { organization: id, which: MAY_JOIN, role, onProgress, signal };
    const { linked, idTaken } = await linkUsers(connection, links);
    writeRows(connection, MEMBERS, id, (rows) => idTaken.forEach((user) => rows.add(user, role)));
    const added = linked + idTaken.length;
    const skipped = total - kept - added;
    return {
      record: { organization: id, created, added, members_already: kept, switched_off: keptOff, skipped },
      firstTime,
      isActive: prepareGrants(connection, schema).isActive(id),
    };
  });

/** The guide's condition; a role that is NULL does not fulfil it. */
const MAY_JOIN = "role NOT IN ('pending', 'banned')";

function countUsers(connection: Connection, { memberActive }: Schema, organization: string) {
  const count = (which: string): number =>
    connection
      .prepare<[object], number>(`SELECT count(*) FROM "user" WHERE ${which} AND $organization IS NOT NULL`)
      .pluck()
      .get({ organization }) ?? 0;
  const kept = count(`${MAY_JOIN} AND id IN (${MEMBERS_OF})`);
  return {
    total: count('1'),
    kept,
    keptOff: kept - count(`${MAY_JOIN} AND id IN (${MEMBERS_OF} AND ${activeCondition(memberActive)})`),
    firstTime: count(`${MAY_JOIN} AND id NOT IN (SELECT user_id FROM organization_members WHERE user_id IS NOT NULL)`),
  };
}

/**
 * Switches memberships off, or deletes them.
 * @param named ids or e-mail addresses; the id of a user that the backend has deleted is one, too
 * @returns beside the record: how many users of the backend have no membership left and may be enrolled anew, and
 *   whether the organization is empty now: a gate with this organization in its environment links all users at its start
 * @throws OperationFailure where one of them has no membership, or where the table cannot hold one that is off
 */
export const removeMembers = (
  operation: Operation,
  chosen: ChosenOrganization,
  { named, purge }: { readonly named: readonly string[]; readonly purge: boolean },
) =>
  changing(operation, 'organizations', (connection) => {
    const organization = chosen.id;
    requireOrganization(connection, chosen, 'change');
    const member = connection.prepare('SELECT 1 FROM organization_members WHERE organization_id = ? AND user_id = ?');
    const users = resolve(connection, named, 'No user was removed.', (name, { id, person }) => {
      if (member.get(organization, id) !== undefined) return undefined;
      return person === null
        ? `${unknownPerson(connection, name)} Neither has ${quoted(organization)} such a member.`
        : `${quoted(name)} is no member of ${quoted(organization)}.`;
    });
    const members = writeRows(connection, MEMBERS, organization, (rows) =>
      users.map(({ id, person }): MemberChange => {
        const outcome = purge ? rows.purge(id) : rows.switchOff(id);
        return { id, email: person?.email ?? null, outcome };
      }),
    );
    const outside = users.filter(({ id, person }) => person !== null && !isAnywhere(connection, id)).length;
    return {
      record: { organization, members },
      outside,
      isEmpty: connection.prepare(ANY_MEMBER).get(organization) === undefined,
    };
  });

const ANY_MEMBER = 'SELECT 1 FROM organization_members WHERE organization_id = ? LIMIT 1';
