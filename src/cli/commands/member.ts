/** `modelgate member add`, `remove` and `list`: who belongs to an organization. */
import { quoted, shellCommand } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/schema.ts';
import { nearest } from '../../nearest.ts';
import { type MemberChange, addAllUsers, addMembers, listMembers, removeMembers } from '../../organizations/members.ts';
import type { ChosenOrganization } from '../../organizations/organizations.ts';
import { describeObstacles } from '../../organizations/standing.ts';
import { CREATE, organizationCommand, groupOf } from '../options.ts';
import { type Notes, amounts, counted, printable, tableOf } from '../report.ts';
import { misused } from '../terminal.ts';

const addAdd = organizationCommand(
  'add',
  `make users members of an organization
All of those that are named, or none. A user who is pending or banned is refused; with --all such users are skipped, and a user who has a membership keeps it as it is. A named user whose membership is switched off gets it back.
$ modelgate member add alice@example.com --org mai_client_acme
$ modelgate member add --all --org mai_client_acme`,
  (command) =>
    command
      .argument('[users...]', 'ids or e-mail addresses')
      .option('--all', 'every user who is neither pending nor banned')
      .option('--role <role>', 'member or admin, which the gate does not look at (default: member for new ones)')
      .addOption(CREATE)
      .option('--as-is', 'take a role of another name'),
  async (named, options, { config, operation, chosen }) => {
    const { all = false, role } = options;
    if (all && named.length > 0) throw misused('Name users, or add --all of them: not both.');
    if (!all && named.length === 0) throw misused('Whom? Name users by id or e-mail address, or use --all.');
    requireRole(options);
    const added = all
      ? await addAllUsers(operation, chosen, role)
      : await addMembers(operation, chosen, { named, role });
    const { record, isActive, firstTime } = added;
    return {
      record,
      parts: ['members' in record ? changesOf(record) : describeAll(record)],
      notes: [noteOnSwitch(chosen.id, isActive), noteOnEnrolment(config, chosen, firstTime)],
    };
  },
);

const addRemove = organizationCommand(
  'remove',
  `switch memberships off
The rows stay, because they keep the users out: a user who has none in any organization is enrolled by the gate in that of its environment (MODELGATE_AUTO_ENROLL).
$ modelgate member remove alice@example.com --org mai_client_acme`,
  (command) =>
    command
      .argument('<users...>', 'ids or e-mail addresses')
      .option('--purge', 'delete the rows; a user without any is then enrolled in the organization of the environment'),
  async (named, options, { config, operation, chosen }) => {
    const { purge = false } = options;
    const removed = await removeMembers(operation, chosen, { named, purge });
    const { record } = removed;
    const notes = purge ? notesOnReturn(config, chosen, 'users', removed) : [];
    return { record, parts: [changesOf(record)], notes };
  },
);

const addList = organizationCommand(
  'list',
  'list the members of an organization, and why some do not count\n$ modelgate member list --org mai_client_acme',
  (command) => command.option('--active', 'only those that count').option('--ids', 'show the ids of the users, too'),
  async (options, { operation, chosen }) => {
    const { organization, members: all } = await listMembers(operation, chosen);
    const members = options.active === true ? all.filter(({ counts }) => counts) : all;
    const table = tableOf(members, {
      id: ({ id }) => (options.ids === true ? id : undefined),
      'e-mail': ({ email, id }) => email ?? (options.ids === true ? null : id),
      ...({ name: 'name', 'role in backend': 'role', 'role in org': 'organization_role' } as const),
      since: ({ joined_at: date }) => date?.slice(0, 10),
      state: ({ counts, reasons }) => (counts ? 'member' : describeObstacles(reasons)),
    });
    return { record: { organization, members }, parts: [table] };
  },
);

export const addMember = groupOf(
  'member',
  `add, remove and list the users of an organization
$ modelgate member list --org mai_client_acme
$ modelgate help member add`,
  ...[addAdd, addRemove, addList],
);

const ROLES = ['member', 'admin'];

function requireRole({ role, asIs }: { readonly role?: string; readonly asIs?: true }): void {
  if (role === undefined || ROLES.includes(role) || (asIs === true && role !== '')) return;
  const meant = nearest(role, ROLES);
  throw misused(
    `${quoted(role)} is no role in an organization: member and admin are. No user was added.${meant === undefined ? '' : ` Did you mean ${meant}?`}${role === '' ? '' : ' --as-is writes it all the same.'}`,
  );
}

function describeAll(record: Awaited<ReturnType<typeof addAllUsers>>['record']): string {
  const others = amounts({
    'already there': record.members_already,
    'of those switched off, and so they stay': record.switched_off,
    'skipped, because they are pending or banned in the backend': record.skipped,
  });
  return `${printable(record.organization)}: ${[`${counted(record.added, 'user')} added`, ...others].join('; ')}.`;
}

const OUTCOMES = {
  added: 'added',
  restored: 'switched on again',
  unchanged: 'was there already',
  role_changed: 'was there already',
  switched_off: 'switched off',
  off_already: 'was switched off already',
  deleted: 'deleted',
} as const satisfies Record<MemberChange['outcome'], string>;

/** @returns the cell of a table that says what was done to a row */
export function outcomeOf({ outcome, role }: Pick<MemberChange, 'outcome' | 'role'>): string {
  const change = role === undefined ? '' : `, role: ${role.before === '' ? 'none' : role.before} → ${role.after}`;
  return `${OUTCOMES[outcome]}${change}`;
}

const changesOf = ({ organization, members }: Record<'organization', string> & { members: readonly MemberChange[] }) =>
  tableOf(members, { user: 'id', 'e-mail': 'email', organization: () => organization, result: outcomeOf });

/** After users got their first membership: from then on no gate enrols them in the organization of the environment. */
function noteOnEnrolment({ organization }: StoreConfig, { id, isConfigured }: ChosenOrganization, firstTime: number) {
  if (isConfigured || firstTime === 0 || organization?.autoEnroll !== true) return undefined;
  const both = shellCommand('modelgate', 'member', 'add', 'USER', '--org', organization.id);
  return `${counted(firstTime, 'user')} had no membership before, and now one of ${quoted(id)} alone: the gate enrols no user in ${quoted(organization.id)} who is a member elsewhere. To make one a member of both: \`${both}\``;
}

export const noteOnSwitch = (id: string, isActive: boolean): string | false =>
  !isActive && `${quoted(id)} is switched off in client_organizations: nothing in it counts until that is changed.`;

/** After rows were deleted: the gate makes rows that are missing. */
export function notesOnReturn(
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  of: 'users' | 'models',
  { isEmpty, outside = 0 }: { readonly isEmpty: boolean; readonly outside?: number },
): Notes {
  const isEnrolled = outside > 0 && (organization?.autoEnroll ?? true);
  if (organization !== undefined && !isConfigured) {
    // the environment of this command names another organization, so this is not the one of the gate either
    return [
      isEnrolled &&
        `${counted(outside, 'user')} without a membership left: with the next request the gate makes such a user a member of ${quoted(organization.id)} (MODELGATE_AUTO_ENROLL). Without --purge the row stays, and keeps the user out.`,
    ];
  }
  const when = isConfigured ? '' : ` if the gate runs with OPENROUTER_EXTERNAL_USER=${quoted(id)}`;
  return [
    isEnrolled &&
      `A user without a row is enrolled again with the next request${when} and MODELGATE_AUTO_ENROLL is on: without --purge a membership stays off.`,
    isEmpty &&
      `No ${of === 'users' ? 'member' : 'grant'} is left: the next start of the gate links all ${of} of the backend again${when}.`,
  ];
}
