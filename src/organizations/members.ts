/** The members of an organization: listed, added, removed. Each change is one transaction, done whole or not at all. */
import { refuseAll } from '../backend-file/failure.ts';
import { type Person, findPeople, severalPeople, unknownPerson } from '../backend-file/backend.ts';
import { quoted, toDate } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { activeCondition, columnsOf } from '../store/schema.ts';
import {
  type ChosenOrganization,
  type FoundOrganization,
  type RowWriter,
  requireOrganization,
  MEMBERS,
  MEMBERS_OF,
  linkUsers,
  readAll,
  readCount,
  changeRows,
} from './organizations.ts';
import { judged, obstacleOfRole } from './standing.ts';

export const listMembers = (operation: Operation, chosen: ChosenOrganization) =>
  reading(operation, 'organizations', (connection, schema) => {
    const found = requireOrganization(connection, schema, chosen, 'read');
    return { organization: chosen.id, members: readMembers(found) };
  });

type MemberRow = Record<'known' | 'email' | 'name' | 'role' | 'organization_role', string | null> &
  Readonly<{ id: string; flag: number; seconds: number | string | null }>;

/** A row whose user is no text is as invisible here as it is to the gate. */
export function readMembers({ connection, schema, organization, isActive }: FoundOrganization) {
  const columns = columnsOf(connection, MEMBERS.name);
  const own = (column: string): string => (columns.has(column) ? `m.${column}` : 'NULL');
  const sql = `SELECT m.user_id AS id, u.id AS known, u.email, u.name, u.role, ${own('role')} AS organization_role,
      ${activeCondition(schema.memberActive, 'm')} AS flag, ${own('joined_at')} AS seconds
    FROM organization_members m LEFT JOIN "user" u ON u.id = m.user_id
    WHERE m.organization_id = $organization AND typeof(m.user_id) = 'text'
    ORDER BY u.email IS NULL, lower(u.email) COLLATE BINARY, m.user_id COLLATE BINARY`;
  return readAll<MemberRow>(connection, sql, { organization }).map(({ known, flag, seconds, ...user }) => {
    const active = flag === 1;
    const ofUser = known === null ? 'unknown_user' : obstacleOfRole(user.role);
    const counting = judged(!active && 'inactive', ofUser, !isActive && 'organization_inactive');
    return { ...user, active, joined_at: toDate(seconds), ...counting };
  });
}

type Wanted = Readonly<{ named: readonly string[]; role?: string | undefined }>;

/** @throws OperationFailure where a user is unknown, pending or banned; then no user was added */
export const addMembers = (operation: Operation, chosen: ChosenOrganization, { named, role }: Wanted) =>
  changeRows(operation, chosen, 'add', MEMBERS, ({ connection, organization, rows, created, isActive }) => {
    const people = resolve(connection, named, 'No user was added.', ({ name, isKnown, ...user }) => {
      if (!isKnown) return unknownPerson(connection, name);
      const obstacle = obstacleOfRole(user.role);
      if (obstacle === 'banned') return `${quoted(name)} is banned in the backend.`;
      return obstacle && `${quoted(name)} is pending: an admin of the backend has to approve the user first.`;
    });
    const firstTime = people.filter(({ id }) => !isAnywhere(connection, id)).length;
    const members = people.map(({ id, email }): MemberChange => {
      const [outcome, change] = [rows.add(id, role), rows.setRole(id, role)];
      if (change === undefined) return { id, email, outcome };
      return { id, email, outcome: outcome === 'unchanged' ? 'role_changed' : outcome, role: change };
    });
    return { record: { organization, created, members }, firstTime, isActive };
  });

export interface MemberChange extends Pick<Person, 'id' | 'email'> {
  readonly outcome: ReturnType<RowWriter['add' | 'remove']> | 'role_changed';
  readonly role?: NonNullable<ReturnType<RowWriter['setRole']>>;
}

const isAnywhere = (connection: Connection, user: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE user_id = ?').get(user) !== undefined;

type Named = Pick<Person, 'id' | 'email' | 'role'> & { readonly name: string; readonly isKnown: boolean };
type Refuse = (user: Named) => string | undefined;

/** @returns each user once @throws OperationFailure with `outcome`, and what is wrong about every one of them */
function resolve(connection: Connection, named: readonly string[], outcome: string, refuse: Refuse) {
  const found = findPeople(connection, named);
  const users = new Map<string, Named>();
  const problems = named.flatMap((name) => {
    const [user = { id: name, email: null, role: null }, ...others] = found.get(name) ?? [];
    if (others.length > 0) return [severalPeople(name)];
    const one = { ...user, name, isKnown: found.has(name) };
    users.set(one.id, one);
    return refuse(one) ?? [];
  });
  refuseAll(problems, outcome);
  return [...users.values()];
}

/** The deployment guide's "add all active users": a user who has a row, switched off or not, keeps it. */
export const addAllUsers = (operation: Operation, chosen: ChosenOrganization, role = 'member') =>
  changeRows(operation, chosen, 'add', MEMBERS, ({ connection, schema, organization, created, isActive }) => {
    const count = (also: string): number =>
      readCount(connection, `SELECT count(*) FROM "user" WHERE ${MAY_JOIN} AND ${also}`, { organization });
    const kept = count(`id IN (${MEMBERS_OF})`);
    const on = count(`id IN (${MEMBERS_OF} AND ${activeCondition(schema.memberActive)})`);
    const firstTime = count('id NOT IN (SELECT user_id FROM organization_members WHERE user_id IS NOT NULL)');
    const added = linkUsers(connection, organization, MAY_JOIN, role);
    const skipped = readCount(connection, 'SELECT count(*) FROM "user"') - kept - added;
    const record = { organization, created, added, members_already: kept, switched_off: kept - on, skipped };
    return { record, firstTime, isActive };
  });

const MAY_JOIN = "role NOT IN ('pending', 'banned')";
type Unwanted = Readonly<{ named: readonly string[]; purge: boolean }>;

/** Switches memberships off, or deletes them; the id of a user that the backend has deleted is one, too. */
export const removeMembers = (operation: Operation, chosen: ChosenOrganization, { named, purge }: Unwanted) =>
  changeRows(operation, chosen, 'change', MEMBERS, ({ connection, organization, rows }) => {
    const member = connection.prepare('SELECT 1 FROM organization_members WHERE organization_id = ? AND user_id = ?');
    const users = resolve(connection, named, 'No user was removed.', ({ id, name, isKnown }) => {
      if (member.get(organization, id) !== undefined) return undefined;
      return isKnown
        ? `${quoted(name)} is no member of ${quoted(organization)}.`
        : `${unknownPerson(connection, name)} Neither has ${quoted(organization)} such a member.`;
    });
    const members = users.map(({ id, email }): MemberChange => ({ id, email, outcome: rows.remove(id, purge) }));
    const outside = users.filter(({ id, isKnown }) => isKnown && !isAnywhere(connection, id)).length;
    return { record: { organization, members }, outside, isEmpty: rows.areGone() };
  });
