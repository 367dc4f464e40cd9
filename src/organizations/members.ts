/** The members of an organization as they are, and why one does not count. */
import { refuseAll } from '../backend-file/failure.ts';
import type { Found, Person } from '../backend-file/people.ts';
import { findPeople, unknownPerson } from '../backend-file/people.ts';
import { quoted } from '../backend-file/text.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { changing, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/grants.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition, columnsOf } from '../store/schema-reader.ts';
import type { Everybody } from './everybody.ts';
import { enrolEverybody } from './everybody.ts';
import type { ChosenOrganization, OrganizationState } from './organizations.ts';
import { requireOrganization } from './organizations.ts';
import type { Added, RowWriter, SwitchedOff } from './rows.ts';
import { MEMBERS, createRowWriter, requireSwitch } from './rows.ts';

/** Why a membership gives nothing. A user with several reasons has them all. */
export type Obstacle = 'inactive' | 'pending' | 'banned' | 'unknown_user' | 'organization_inactive';

/** @param role of the backend's row @returns why the gate refuses whoever has it, undefined where it does not */
export function obstacleOfRole(role: unknown): 'pending' | 'banned' | undefined {
  // a row without a role, or with one that is no text, is a user that the backend lets nowhere
  if (typeof role !== 'string' || role === 'pending') return 'pending';
  return role === 'banned' ? 'banned' : undefined;
}

/** SQL for the same, of the backend's table "user" under the name `u`. */
export const ROLE_COUNTS = "typeof(u.role) = 'text' AND u.role NOT IN ('pending', 'banned')";

export interface Member {
  readonly id: string;
  /** Of the backend's row; null where there is none. */
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string | null;
  readonly organizationRole: string | null;
  readonly isActive: boolean;
  /** Seconds since 1970, or whatever a table made by hand holds. */
  readonly joinedAt: number | string | null;
  /** None: the gate counts it. */
  readonly obstacles: readonly Obstacle[];
}

/** @returns members by e-mail address @throws OperationFailure as `reading`, and where nobody has named the organization */
export function listMembers(operation: Operation, chosen: ChosenOrganization): Promise<readonly Member[]> {
  return reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    return readMembers(connection, schema, chosen.id);
  });
}

interface MemberRow {
  readonly id: string;
  readonly known: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string | null;
  readonly organizationRole: string | null;
  readonly active: number;
  readonly joinedAt: number | string | null;
}

/** A row whose user is no text is as invisible here as it is to the gate. */
export function readMembers(connection: Connection, schema: Schema, organization: string): readonly Member[] {
  const columns = columnsOf(connection, 'organization_members');
  const statement = connection.prepare<[string], MemberRow>(
    `SELECT m.user_id AS id, u.id AS known, u.email, u.name, u.role,
       ${columns.has('role') ? 'm.role' : 'NULL'} AS organizationRole,
       ${activeCondition(schema.memberActive, 'm')} AS active,
       ${columns.has('joined_at') ? 'm.joined_at' : 'NULL'} AS joinedAt
     FROM organization_members m LEFT JOIN "user" u ON u.id = m.user_id
     WHERE m.organization_id = ? AND typeof(m.user_id) = 'text'
     ORDER BY u.email IS NULL, lower(u.email), m.user_id`,
  );
  const isOrganizationActive = prepareGrants(connection, schema).isActive(organization);
  return statement.all(organization).map((row) => toMember(row, isOrganizationActive));
}

function toMember({ known, active, ...row }: MemberRow, isOrganizationActive: boolean): Member {
  const obstacles: Obstacle[] = [];
  if (active !== 1) obstacles.push('inactive');
  const ofUser = known === null ? 'unknown_user' : obstacleOfRole(row.role);
  if (ofUser !== undefined) obstacles.push(ofUser);
  if (!isOrganizationActive) obstacles.push('organization_inactive');
  return { ...row, isActive: active === 1, obstacles };
}

// Who belongs to an organization, changed: each call is one transaction, done whole or not at all.

export interface MemberChange<Outcome> {
  readonly id: string;
  /** Null where the backend no longer knows the user. */
  readonly person: Person | null;
  readonly outcome: Outcome;
  /** In the organization, before and after, where it has changed. */
  readonly roles?: readonly [before: string, after: string];
}

export interface AddedMembers extends OrganizationState {
  readonly members: readonly MemberChange<Added | 'role_changed'>[];
  /** Users who had no membership at all before, and whom no gate enrols from now on. */
  readonly firstTime: number;
}

/**
 * @param named ids or e-mail addresses
 * @param role in the organization; undefined: `member` for new ones, and whatever it is for the others
 * @throws OperationFailure where one of them is unknown, pending or banned; then nobody was added
 */
export function addMembers(
  operation: Operation,
  chosen: ChosenOrganization,
  { named, role }: { readonly named: readonly string[]; readonly role?: string | undefined },
): Promise<AddedMembers> {
  return changing(operation, 'organizations', (connection, schema) => {
    const isNew = !requireOrganization(connection, chosen, 'add');
    const people = admit(connection, named, findPeople(connection, named));
    const firstTime = people.filter(({ id }) => !isAnywhere(connection, id)).length;
    const rows = createRowWriter(connection, MEMBERS, chosen.id);
    const members = people.map((person) => ({ id: person.id, person, ...addOne(rows, person, role) }));
    return { members, firstTime, isNew, isActive: prepareGrants(connection, schema).isActive(chosen.id) };
  });
}

/** Whether the user has a row of any organization, switched on or off. */
const isAnywhere = (connection: Connection, user: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE user_id = ?').get(user) !== undefined;

function addOne(
  rows: RowWriter,
  { id }: Person,
  role: string | undefined,
): Pick<MemberChange<Added | 'role_changed'>, 'outcome' | 'roles'> {
  const outcome = rows.add(id, role);
  if (outcome === 'added' || role === undefined) return { outcome };
  const before = rows.setRole(id, role);
  if (before === undefined) return { outcome };
  return { outcome: outcome === 'unchanged' ? 'role_changed' : outcome, roles: [before, role] };
}

/** @returns each person once @throws OperationFailure with what is wrong about every one of them */
function admit(connection: Connection, named: readonly string[], found: readonly Found[]): readonly Person[] {
  const people = new Map<string, Person>();
  const problems = named.flatMap((name, index) => {
    const one = found[index] ?? 'unknown';
    if (one === 'unknown') return [unknownPerson(connection, name)];
    if (one === 'ambiguous') return [`Several users have the e-mail address ${quoted(name)}: give the id of one.`];
    if (one.role === 'banned') return [`${quoted(name)} is banned in the backend.`];
    if (one.role === 'pending' || one.role === null) {
      return [`${quoted(name)} is pending: an admin of the backend has to approve the user first.`];
    }
    people.set(one.id, one);
    return [];
  });
  refuseAll(problems, 'Nobody was added.');
  return [...people.values()];
}

export interface AddedEverybody extends OrganizationState, Everybody {}

/**
 * The deployment guide's "add all active users": whoever has a row, switched off or not, keeps it.
 * @param role in the organization, on new rows
 * @param onProgress told in between how many of how many users have been looked at
 * @throws OperationFailure as `changing`, and where a rule of the table forbids a row
 */
export function addEverybody(
  operation: Operation,
  chosen: ChosenOrganization,
  {
    role = 'member',
    onProgress,
  }: { readonly role?: string | undefined; readonly onProgress: (done: number, total: number) => void },
): Promise<AddedEverybody> {
  const { signal } = operation.patience;
  return changing(operation, 'organizations', async (connection, schema) => {
    const isNew = !requireOrganization(connection, chosen, 'add');
    const everybody = await enrolEverybody(connection, { organization: chosen.id, role, onProgress, signal });
    return { ...everybody, isNew, isActive: prepareGrants(connection, schema).isActive(chosen.id) };
  });
}

export interface RemovedMembers {
  readonly members: readonly MemberChange<SwitchedOff | 'deleted'>[];
  /** Users of the backend who have no membership of any organization left: a gate may enrol them anew. */
  readonly outside: number;
  /** No row of a member is left: a gate that starts with this organization in its environment links everybody anew. */
  readonly isEmpty: boolean;
}

/**
 * Switches memberships off, or deletes them.
 * @param named ids or e-mail addresses; an id of a user that the backend has deleted counts too
 * @throws OperationFailure where one of them has no membership, or where the table cannot hold one that is off
 */
export function removeMembers(
  operation: Operation,
  chosen: ChosenOrganization,
  { named, purge }: { readonly named: readonly string[]; readonly purge: boolean },
): Promise<RemovedMembers> {
  return changing(operation, 'organizations', (connection) => {
    requireOrganization(connection, chosen, 'change');
    const rows = createRowWriter(connection, MEMBERS, chosen.id);
    if (!purge) requireSwitch(rows, MEMBERS.name);
    const targets = identify(connection, chosen.id, named);
    const members = targets.map(({ id, person }) => {
      if (!purge) return { id, person, outcome: rows.switchOff(id) };
      rows.purge(id);
      return { id, person, outcome: 'deleted' as const };
    });
    const outside = members.filter(({ id, person }) => person !== null && !isAnywhere(connection, id)).length;
    return { members, outside, isEmpty: !hasMembers(connection, chosen.id) };
  });
}

/** @returns the membership that each name means, once @throws OperationFailure with every name that means none */
function identify(
  connection: Connection,
  organization: string,
  named: readonly string[],
): readonly Pick<MemberChange<unknown>, 'id' | 'person'>[] {
  const member = connection.prepare('SELECT 1 FROM organization_members WHERE organization_id = ? AND user_id = ?');
  const isMember = (user: string): boolean => member.get(organization, user) !== undefined;
  const found = findPeople(connection, named);
  const targets = new Map<string, Person | null>();
  const problems = named.flatMap((name, index) => {
    const one = found[index] ?? 'unknown';
    if (one === 'ambiguous') return [`Several users have the e-mail address ${quoted(name)}: give the id of one.`];
    const id = one === 'unknown' ? name : one.id;
    if (isMember(id)) {
      targets.set(id, one === 'unknown' ? null : one);
      return [];
    }
    return one === 'unknown'
      ? [`${unknownPerson(connection, name)} Neither has ${quoted(organization)} such a member.`]
      : [`${quoted(name)} is no member of ${quoted(organization)}.`];
  });
  refuseAll(problems, 'Nobody was removed.');
  return [...targets].map(([id, person]) => ({ id, person }));
}

const hasMembers = (connection: Connection, organization: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE organization_id = ? LIMIT 1').get(organization) !==
  undefined;
