/** The members of an organization: listed, added, removed. Each change is one transaction, done whole or not at all. */
import { refuseAll } from '../backend-file/failure.ts';
import { findPeople, unknownPerson } from '../backend-file/backend.ts';
import { quoted, toDate } from '../backend-file/text.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { writtenColumns } from '../store/initialize.ts';
import { type Schema, activeCondition, columnsOf } from '../store/schema.ts';
import {
  type ChosenOrganization,
  type RowWriter,
  requireOrganization,
  MEMBERS,
  MEMBERS_OF,
  linkUsers,
  readAll,
  readColumn,
  readCount,
  writeRows,
} from './organizations.ts';
import { judged, obstacleOfRole } from './standing.ts';

export const listMembers = (operation: Operation, chosen: ChosenOrganization) =>
  reading(operation, 'organizations', (connection, schema) => {
    const { isActive } = requireOrganization(connection, schema, chosen, 'read');
    return { organization: chosen.id, members: readMembers(connection, schema, chosen.id, isActive) };
  });

type MemberRow = Record<'known' | 'email' | 'name' | 'role' | 'organization_role', string | null> &
  Readonly<{ id: string; active: number; joined_at: number | string | null }>;

export type Member = ReturnType<typeof readMembers>[number];

/** A row whose user is no text is as invisible here as it is to the gate. */
export function readMembers(connection: Connection, schema: Schema, organization: string, isOn: boolean) {
  const columns = columnsOf(connection, MEMBERS.name);
  const rows = readAll<MemberRow>(
    connection,
    `SELECT m.user_id AS id, u.id AS known, u.email, u.name, u.role,
       ${columns.has('role') ? 'm.role' : 'NULL'} AS organization_role,
       ${activeCondition(schema.memberActive, 'm')} AS active,
       ${columns.has('joined_at') ? 'm.joined_at' : 'NULL'} AS joined_at
     FROM organization_members m LEFT JOIN "user" u ON u.id = m.user_id
     WHERE m.organization_id = $organization AND typeof(m.user_id) = 'text'
     ORDER BY u.email IS NULL, lower(u.email), m.user_id`,
    { organization },
  );
  return rows.map(({ known, active, joined_at, ...user }) => ({
    ...user,
    active: active === 1,
    joined_at: toDate(joined_at),
    ...judged(
      active !== 1 && 'inactive',
      known === null ? 'unknown_user' : obstacleOfRole(user.role),
      !isOn && 'organization_inactive',
    ),
  }));
}

/** @throws OperationFailure where a user is unknown, pending or banned; then no user was added */
export const addMembers = (
  operation: Operation,
  chosen: ChosenOrganization,
  { named, role }: { readonly named: readonly string[]; readonly role?: string | undefined },
) =>
  changing(operation, 'organizations', (connection, schema) => {
    const { created, isActive } = requireOrganization(connection, schema, chosen, 'add');
    const people = resolve(connection, named, 'No user was added.', (name, { isKnown, role: inBackend }) => {
      if (!isKnown) return unknownPerson(connection, name);
      const obstacle = obstacleOfRole(inBackend);
      if (obstacle === 'banned') return `${quoted(name)} is banned in the backend.`;
      return obstacle && `${quoted(name)} is pending: an admin of the backend has to approve the user first.`;
    });
    const firstTime = people.filter(({ id }) => !isAnywhere(connection, id)).length;
    const members = writeRows(connection, MEMBERS, chosen.id, (rows) =>
      people.map(({ id, email }): MemberChange => {
        const outcome = rows.add(id, role);
        const isNew = outcome === 'added' || role === undefined;
        const before = isNew ? undefined : replaceRole(connection, chosen.id, id, role);
        if (isNew || before === undefined) return { id, email, outcome };
        const change = { before, after: role };
        return { id, email, outcome: outcome === 'unchanged' ? 'role_changed' : outcome, role: change };
      }),
    );
    return { record: { organization: chosen.id, created, members }, firstTime, isActive };
  });

export interface MemberChange {
  readonly id: string;
  readonly email: string | null;
  readonly outcome: ReturnType<RowWriter['add' | 'remove']> | 'role_changed';
  readonly role?: { readonly before: string; readonly after: string };
}

/** @returns the role that was replaced; undefined where it is that role already, or the table has none */
function replaceRole(connection: Connection, organization: string, user: string, role: string): string | undefined {
  if (!writtenColumns(connection, MEMBERS.name).includes('role')) return undefined;
  const at = 'organization_id = $organization AND user_id = $user AND role IS NOT $role';
  const key = { organization, user, role };
  const before = `SELECT coalesce(role, '') FROM organization_members WHERE ${at}`;
  const [replaced] = readColumn<string>(connection, before, key);
  connection.prepare(`UPDATE organization_members SET role = $role WHERE ${at}`).run(key);
  return replaced;
}

const isAnywhere = (connection: Connection, user: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE user_id = ?').get(user) !== undefined;

type Named = Record<'email' | 'role', string | null> & Readonly<{ id: string; isKnown: boolean }>;

/** @returns each user once @throws OperationFailure with `outcome`, and what is wrong about every one of them */
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
    const isKnown = one !== 'unknown';
    const user = isKnown ? { ...one, isKnown } : { id: name, email: null, role: null, isKnown };
    users.set(user.id, user);
    return refuse(name, user) ?? [];
  });
  refuseAll(problems, outcome);
  return [...users.values()];
}

/** The deployment guide's "add all active users": a user who has a row, switched off or not, keeps it. */
export const addAllUsers = (operation: Operation, chosen: ChosenOrganization, role = 'member') =>
  changing(operation, 'organizations', (connection, schema) => {
    const organization = chosen.id;
    const { created, isActive } = requireOrganization(connection, schema, chosen, 'add');
    const { total, kept, on, firstTime } = countUsers(connection, schema, organization);
    const linked = linkUsers(connection, organization, MAY_JOIN, role);
    // the guide's id of these is that of another row, or a rule of the table forbids theirs
    const missing = `SELECT id FROM "user" WHERE ${MAY_JOIN} AND id NOT IN (${MEMBERS_OF})`;
    const others = readColumn<string>(connection, missing, { organization });
    writeRows(connection, MEMBERS, organization, (rows) => others.forEach((user) => rows.add(user, role)));
    const added = linked + others.length;
    const already = { members_already: kept, switched_off: kept - on, skipped: total - kept - added };
    return { record: { organization, created, added, ...already }, firstTime, isActive };
  });

const MAY_JOIN = "role NOT IN ('pending', 'banned')";

function countUsers(connection: Connection, { memberActive }: Schema, organization: string) {
  const may = (also: string): string => `count(*) FILTER (WHERE ${MAY_JOIN} AND ${also})`;
  const [counts] = readAll<Record<'total' | 'kept' | 'on' | 'firstTime', number>>(
    connection,
    `SELECT count(*) AS total, ${may(`id IN (${MEMBERS_OF})`)} AS kept,
       ${may(`id IN (${MEMBERS_OF} AND ${activeCondition(memberActive)})`)} AS "on",
       ${may('id NOT IN (SELECT user_id FROM organization_members WHERE user_id IS NOT NULL)')} AS firstTime
     FROM "user"`,
    { organization },
  );
  return counts ?? { total: 0, kept: 0, on: 0, firstTime: 0 };
}

/** Switches memberships off, or deletes them; the id of a user that the backend has deleted is one, too. */
export const removeMembers = (
  operation: Operation,
  chosen: ChosenOrganization,
  { named, purge }: { readonly named: readonly string[]; readonly purge: boolean },
) =>
  changing(operation, 'organizations', (connection, schema) => {
    const organization = chosen.id;
    requireOrganization(connection, schema, chosen, 'change');
    const member = connection.prepare('SELECT 1 FROM organization_members WHERE organization_id = ? AND user_id = ?');
    const users = resolve(connection, named, 'No user was removed.', (name, { id, isKnown }) => {
      if (member.get(organization, id) !== undefined) return undefined;
      return isKnown
        ? `${quoted(name)} is no member of ${quoted(organization)}.`
        : `${unknownPerson(connection, name)} Neither has ${quoted(organization)} such a member.`;
    });
    const members = writeRows(connection, MEMBERS, organization, (rows) =>
      users.map(({ id, email }): MemberChange => ({ id, email, outcome: rows.remove(id, purge) })),
    );
    const outside = users.filter(({ id, isKnown }) => isKnown && !isAnywhere(connection, id)).length;
    const left = 'SELECT 1 FROM organization_members WHERE organization_id = $organization LIMIT 1';
    return { record: { organization, members }, outside, isEmpty: readCount(connection, left, { organization }) === 0 };
  });
