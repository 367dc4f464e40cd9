/** Who belongs to an organization, changed: each call is one transaction, done whole or not at all. */
import type { Connection } from '../../store/database.ts';
import { prepareGrants } from '../../store/grants.ts';
import type { Operation } from '../backend-file.ts';
import { changing } from '../backend-file.ts';
import type { Found, Person } from '../people.ts';
import { findPeople, unknownPerson } from '../people.ts';
import { refuseAll } from '../problems.ts';
import { quoted } from '../quoted.ts';
import type { Everybody } from './everybody.ts';
import { enrolEverybody } from './everybody.ts';
import type { Added, RowWriter, SwitchedOff } from './organization-rows.ts';
import { createRowWriter, MEMBERS, requireSwitch } from './organization-rows.ts';
import type { ChosenOrganization, OrganizationState } from './organizations.ts';
import { requireOrganization } from './organizations.ts';

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
