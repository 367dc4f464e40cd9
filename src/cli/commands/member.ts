/** `modelgate member add`, `remove` and `list`: who belongs to an organization. */
import { quoted } from '../../backend-file/text.ts';
import { nearest } from '../../nearest.ts';
import type { AddedEverybody, Member, MemberChange } from '../../organizations/members.ts';
import {
  addEverybody,
  addMembers as addNamed,
  listMembers as readMembers,
  removeMembers as removeNamed,
} from '../../organizations/members.ts';
import type { ChosenOrganization } from '../../organizations/organizations.ts';
import type { OrganizationOptions } from '../configured.ts';
import { configureOrganization } from '../configured.ts';
import { counted, printable, toDate } from '../format.ts';
import type { Cell } from '../report.ts';
import { asJson, asTable } from '../report.ts';
import { createProgress } from '../progress.ts';
import type { Terminal } from '../terminal.ts';
import { CommandFailure, EXIT } from '../terminal.ts';
import { counts, describeObstacles } from './obstacles.ts';
import { warnOfEnrolment, warnOfOrganization, warnOfReturn } from './organization-warnings.ts';

export interface MemberAddOptions extends OrganizationOptions {
  readonly all?: boolean;
  readonly role?: string;
  /** A role that nobody else knows is meant. */
  readonly asIs?: boolean;
}

const ROLES = ['member', 'admin'];

/**
 * @param users ids or e-mail addresses
 * @throws CommandFailure or OperationFailure; then nobody was added
 */
export async function addMembers(
  users: readonly string[],
  options: MemberAddOptions,
  terminal: Terminal,
): Promise<number> {
  const { all = false, role } = options;
  if (all === users.length > 0) {
    throw new CommandFailure(
      all ? 'Name users, or add --all of them: not both.' : 'Whom? Name users by id or e-mail address, or use --all.',
      EXIT.misused,
    );
  }
  requireRole(options);
  const { config, operation, chosen } = configureOrganization(options, terminal);
  if (all) {
    const progress = createProgress(terminal, `Adding to ${printable(chosen.id)}`, 'user');
    const everybody = await addEverybody(operation, chosen, { role, onProgress: progress.at }).finally(progress.end);
    terminal.write(options.json === true ? everybodyToJson(chosen, everybody) : describeEverybody(chosen, everybody));
    warnOfOrganization(terminal, chosen, everybody);
    warnOfEnrolment(terminal, config, chosen, everybody);
    return EXIT.done;
  }
  const added = await addNamed(operation, chosen, { named: users, role });
  terminal.write(
    options.json === true
      ? asJson({ organization: chosen.id, created: added.isNew, members: added.members.map(changeToJson) })
      : describeChanges(terminal, chosen, added.members),
  );
  warnOfOrganization(terminal, chosen, added);
  warnOfEnrolment(terminal, config, chosen, added);
  return EXIT.done;
}

/** @throws CommandFailure with exit code 2 where nothing that the guide or mAI knows is named */
function requireRole({ role, asIs = false }: MemberAddOptions): void {
  if (role === undefined || ROLES.includes(role) || (asIs && role !== '')) return;
  const meant = nearest(role, ROLES);
  throw new CommandFailure(
    `${quoted(role)} is no role in an organization: member and admin are. Nobody was added.${meant === undefined ? '' : ` Did you mean ${meant}?`}${role === '' ? '' : ' --as-is writes it all the same.'}`,
    EXIT.misused,
  );
}

const everybodyToJson = (
  { id }: ChosenOrganization,
  { added, kept, keptOff, skipped, isNew }: AddedEverybody,
): string => asJson({ organization: id, created: isNew, added, members_already: kept, switched_off: keptOff, skipped });

function describeEverybody({ id }: ChosenOrganization, { added, kept, keptOff, skipped }: AddedEverybody): string {
  const parts = [`${counted(added, 'user')} added`];
  if (kept > 0) {
    const off = keptOff === 0 ? '' : `, of which ${keptOff.toLocaleString('en')} switched off, and so they stay`;
    parts.push(`${kept.toLocaleString('en')} already there${off}`);
  }
  if (skipped > 0)
    parts.push(`${skipped.toLocaleString('en')} skipped, because they are pending or banned in the backend`);
  return `${printable(id)}: ${parts.join('; ')}.\n`;
}

type Outcome = keyof typeof OUTCOMES;

const OUTCOMES = {
  added: 'added',
  restored: 'switched on again',
  unchanged: 'is a member already',
  role_changed: 'is a member already',
  switched_off: 'switched off',
  off_already: 'was switched off already',
  deleted: 'deleted',
  absent: 'is no member',
} as const;

const changeToJson = ({ id, person, outcome, roles }: MemberChange<Outcome>): unknown => ({
  id,
  email: person?.email ?? null,
  outcome,
  ...(roles === undefined ? {} : { role: { before: roles[0], after: roles[1] } }),
});

const describeChanges = (
  terminal: Terminal,
  { id }: ChosenOrganization,
  changes: readonly MemberChange<Outcome>[],
): string =>
  asTable(
    terminal,
    ['user', 'e-mail', 'organization', 'result'],
    changes.map((change) => [change.id, change.person?.email, id, describeOutcome(change)]),
  );

const describeOutcome = ({ outcome, roles }: MemberChange<Outcome>): string =>
  roles === undefined
    ? OUTCOMES[outcome]
    : `${OUTCOMES[outcome]}, role: ${roles[0] === '' ? 'none' : roles[0]} → ${roles[1]}`;

export interface MemberRemoveOptions extends OrganizationOptions {
  readonly purge?: boolean;
}

/**
 * @param users ids or e-mail addresses
 * @throws CommandFailure or OperationFailure; then nobody was removed
 */
export async function removeMembers(
  users: readonly string[],
  options: MemberRemoveOptions,
  terminal: Terminal,
): Promise<number> {
  const { purge = false } = options;
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const removed = await removeNamed(operation, chosen, { named: users, purge });
  terminal.write(
    options.json === true
      ? asJson({ organization: chosen.id, members: removed.members.map(changeToJson) })
      : describeChanges(terminal, chosen, removed.members),
  );
  if (purge) warnOfReturn(terminal, config, chosen, { of: 'users', ...removed });
  return EXIT.done;
}

export interface MemberListOptions extends OrganizationOptions {
  readonly active?: boolean;
  readonly ids?: boolean;
}

/** @throws CommandFailure or OperationFailure where the file cannot be read, or nobody has named the organization */
export async function listMembers(options: MemberListOptions, terminal: Terminal): Promise<number> {
  const { operation, chosen } = configureOrganization(options, terminal);
  const all = await readMembers(operation, chosen);
  const members = options.active === true ? all.filter(counts) : all;
  terminal.write(
    options.json === true
      ? asJson({ organization: chosen.id, members: members.map(memberToJson) })
      : asMemberTable(terminal, members, options.ids === true),
  );
  return EXIT.done;
}

/** What is empty for all is left out. */
function asMemberTable(terminal: Terminal, members: readonly Member[], withIds: boolean): string {
  const columns: readonly (readonly [title: string, cell: (member: Member) => Cell])[] = [
    ...(withIds ? [['id', ({ id }: Member) => id] as const] : []),
    ['e-mail', ({ email, id }) => email ?? (withIds ? null : id)],
    ['name', ({ name }) => name],
    ['role in backend', ({ role }) => role],
    ['role in org', ({ organizationRole }) => organizationRole],
    ['since', ({ joinedAt }) => toDate(joinedAt)?.slice(0, 10)],
    ['state', (member) => (counts(member) ? 'member' : describeObstacles(member.obstacles))],
  ];
  const shown = columns.filter(
    ([, cell]) => members.length === 0 || members.some((member) => (cell(member) ?? '') !== ''),
  );
  return asTable(
    terminal,
    shown.map(([title]) => title),
    members.map((member) => shown.map(([, cell]) => cell(member))),
  );
}

const memberToJson = (member: Member): unknown => ({
  id: member.id,
  email: member.email,
  name: member.name,
  role: member.role,
  organization_role: member.organizationRole,
  active: member.isActive,
  joined_at: toDate(member.joinedAt),
  counts: counts(member),
  reasons: member.obstacles,
});
