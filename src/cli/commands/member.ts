/** `modelgate member add`, `remove` and `list`: who belongs to an organization. */
import { quoted } from '../../backend-file/text.ts';
import { nearest } from '../../nearest.ts';
import type { Member, MemberChange } from '../../organizations/members.ts';
import {
  addAllUsers,
  addMembers as addNamed,
  listMembers as readMembers,
  removeMembers as removeNamed,
} from '../../organizations/members.ts';
import { describeObstacles } from '../../organizations/obstacles.ts';
import type { OrganizationOptions } from '../configured.ts';
import { configureOrganization } from '../configured.ts';
import { counted, printable } from '../format.ts';
import type { Cell } from '../report.ts';
import { asJson, asTable } from '../report.ts';
import { createProgress } from '../progress.ts';
import type { Terminal } from '../terminal.ts';
import { CommandFailure, EXIT } from '../terminal.ts';
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
  const added = await (all ? addAll() : addNamed(operation, chosen, { named: users, role }));
  terminal.write(
    options.json === true
      ? asJson(added.record)
      : 'members' in added.record
        ? describeChanges(terminal, added.record)
        : describeAll(added.record),
  );
  warnOfOrganization(terminal, chosen, added);
  warnOfEnrolment(terminal, config, chosen, added);
  return EXIT.done;

  function addAll() {
    const progress = createProgress(terminal, `Adding to ${printable(chosen.id)}`, 'user');
    return addAllUsers(operation, chosen, { role, onProgress: progress.at }).finally(progress.end);
  }
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

function describeAll({ organization, added, members_already: kept, switched_off: off, skipped }: AllUsers): string {
  const parts = [`${counted(added, 'user')} added`];
  if (kept > 0) {
    const stay = off === 0 ? '' : `, of which ${off.toLocaleString('en')} switched off, and so they stay`;
    parts.push(`${kept.toLocaleString('en')} already there${stay}`);
  }
  if (skipped > 0) {
    parts.push(`${skipped.toLocaleString('en')} skipped, because they are pending or banned in the backend`);
  }
  return `${printable(organization)}: ${parts.join('; ')}.\n`;
}

type AllUsers = Awaited<ReturnType<typeof addAllUsers>>['record'];

const OUTCOMES = {
  added: 'added',
  restored: 'switched on again',
  unchanged: 'is a member already',
  role_changed: 'is a member already',
  switched_off: 'switched off',
  off_already: 'was switched off already',
  deleted: 'deleted',
  absent: 'is no member',
} as const satisfies Record<MemberChange['outcome'], string>;

const describeChanges = (
  terminal: Terminal,
  { organization, members }: { readonly organization: string; readonly members: readonly MemberChange[] },
): string =>
  asTable(
    terminal,
    ['user', 'e-mail', 'organization', 'result'],
    members.map((change) => [change.id, change.email, organization, describeOutcome(change)]),
  );

const describeOutcome = ({ outcome, role }: MemberChange): string =>
  role === undefined
    ? OUTCOMES[outcome]
    : `${OUTCOMES[outcome]}, role: ${role.before === '' ? 'none' : role.before} → ${role.after}`;

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
  terminal.write(options.json === true ? asJson(removed.record) : describeChanges(terminal, removed.record));
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
  const { organization, members: all } = await readMembers(operation, chosen);
  const members = options.active === true ? all.filter(({ counts }) => counts) : all;
  terminal.write(
    options.json === true ? asJson({ organization, members }) : asMemberTable(terminal, members, options.ids === true),
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
    ['role in org', (member) => member.organization_role],
    ['since', (member) => member.joined_at?.slice(0, 10)],
    ['state', ({ counts, reasons }) => (counts ? 'member' : describeObstacles(reasons))],
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
