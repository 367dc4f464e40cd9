/** `modelgate member add`, `remove` and `list`: who belongs to an organization. */
import type { Command } from '@commander-js/extra-typings';
import { quoted, shellCommand } from '../../backend-file/text.ts';
import type { StoreConfig } from '../../config/schema.ts';
import { nearest } from '../../nearest.ts';
import {
  type Member,
  type MemberChange,
  addAllUsers,
  addMembers,
  listMembers,
  removeMembers,
} from '../../organizations/members.ts';
import type { ChosenOrganization } from '../../organizations/organizations.ts';
import { describeObstacles } from '../../organizations/standing.ts';
import { type OptionsOf, CREATE, ORG, commandOf, configureOrganization, groupOf, onDatabase } from '../options.ts';
import { type Cell, type Table, counted, print, printable } from '../report.ts';
import { type Terminal, misused } from '../terminal.ts';

const declareAdd = (group: Command) =>
  onDatabase(
    group
      .command('add')
      .summary('make users members of an organization')
      .description(
        'Make users members of an organization, all of them or none. A user who is pending or banned is refused; with --all such users are skipped, and a user who has a membership keeps it as it is. A named user whose membership is switched off gets it back.',
      )
      .addOption(ORG)
      .argument('[users...]', 'ids or e-mail addresses')
      .option('--all', 'every user who is neither pending nor banned')
      .option('--role <role>', 'member or admin, which the gate does not look at (default: member for new ones)')
      .addOption(CREATE)
      .option('--as-is', 'take a role of another name'),
    'modelgate member add alice@example.com --org mai_client_acme',
    'modelgate member add --all --org mai_client_acme',
  );

const declareRemove = (group: Command) =>
  onDatabase(
    group
      .command('remove')
      .summary('switch memberships off')
      .description(
        'Switch memberships off. The rows stay, because they keep the users out: a user who has none in any organization is enrolled by the gate in that of its environment (MODELGATE_AUTO_ENROLL).',
      )
      .addOption(ORG)
      .argument('<users...>', 'ids or e-mail addresses')
      .option('--purge', 'delete the rows; a user without any is then enrolled in the organization of the environment'),
    'modelgate member remove alice@example.com --org mai_client_acme',
  );

const declareList = (group: Command) =>
  onDatabase(
    group
      .command('list')
      .description('list the members of an organization, and why some do not count')
      .addOption(ORG)
      .option('--active', 'only those that count')
      .option('--ids', 'show the ids of the users, too'),
    'modelgate member list --org mai_client_acme',
  );

export const addMember = groupOf(
  'member',
  'add, remove and list the users of an organization',
  ['modelgate member list --org mai_client_acme', 'modelgate help member add'],
  commandOf(declareAdd, add),
  commandOf(declareRemove, remove),
  commandOf(declareList, list),
);

async function add(users: readonly string[], options: OptionsOf<typeof declareAdd>, terminal: Terminal) {
  const { all = false, role } = options;
  if (all === users.length > 0) {
    throw misused(
      all ? 'Name users, or add --all of them: not both.' : 'Whom? Name users by id or e-mail address, or use --all.',
    );
  }
  requireRole(options);
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const added = await (all
    ? addAllUsers(operation, chosen, role)
    : addMembers(operation, chosen, { named: users, role }));
  const { record } = added;
  return print(terminal, options, {
    record,
    parts: ['members' in record ? changesOf(record) : describeAll(record)],
    notes: [noteOnSwitch(chosen.id, added.isActive), noteOnEnrolment(config, chosen, added.firstTime)],
  });
}

const ROLES = ['member', 'admin'];

function requireRole({ role, asIs }: OptionsOf<typeof declareAdd>): void {
  if (role === undefined || ROLES.includes(role) || (asIs === true && role !== '')) return;
  const meant = nearest(role, ROLES);
  throw misused(
    `${quoted(role)} is no role in an organization: member and admin are. No user was added.${meant === undefined ? '' : ` Did you mean ${meant}?`}${role === '' ? '' : ' --as-is writes it all the same.'}`,
  );
}

function describeAll(record: Awaited<ReturnType<typeof addAllUsers>>['record']): string {
  const { organization, added, members_already: kept, switched_off: off, skipped } = record;
  const stay = off === 0 ? '' : `, of which ${off.toLocaleString('en')} switched off, and so they stay`;
  const parts = [
    `${counted(added, 'user')} added`,
    ...(kept > 0 ? [`${kept.toLocaleString('en')} already there${stay}`] : []),
    ...(skipped > 0
      ? [`${skipped.toLocaleString('en')} skipped, because they are pending or banned in the backend`]
      : []),
  ];
  return `${printable(organization)}: ${parts.join('; ')}.`;
}

const OUTCOMES = {
  added: 'added',
  restored: 'switched on again',
  unchanged: 'is a member already',
  role_changed: 'is a member already',
  switched_off: 'switched off',
  off_already: 'was switched off already',
  deleted: 'deleted',
} as const satisfies Record<MemberChange['outcome'], string>;

const changesOf = (record: { readonly organization: string; readonly members: readonly MemberChange[] }): Table => ({
  columns: ['user', 'e-mail', 'organization', 'result'],
  rows: record.members.map(({ id, email, outcome, role }) => {
    const change = role === undefined ? '' : `, role: ${role.before === '' ? 'none' : role.before} → ${role.after}`;
    return [id, email, record.organization, `${OUTCOMES[outcome]}${change}`];
  }),
});

async function remove(named: readonly string[], options: OptionsOf<typeof declareRemove>, terminal: Terminal) {
  const { purge = false } = options;
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const removed = await removeMembers(operation, chosen, { named, purge });
  return print(terminal, options, {
    record: removed.record,
    parts: [changesOf(removed.record)],
    notes: purge ? notesOnReturn(config, chosen, 'users', removed) : [],
  });
}

async function list(options: OptionsOf<typeof declareList>, terminal: Terminal) {
  const { operation, chosen } = configureOrganization(options, terminal);
  const { organization, members: all } = await listMembers(operation, chosen);
  const members = options.active === true ? all.filter(({ counts }) => counts) : all;
  const columns: readonly (readonly [title: string, cell: (member: Member) => Cell])[] = [
    ...(options.ids === true ? [['id', ({ id }: Member) => id] as const] : []),
    ['e-mail', ({ email, id }) => email ?? (options.ids === true ? null : id)],
    ['name', ({ name }) => name],
    ['role in backend', ({ role }) => role],
    ['role in org', (member) => member.organization_role],
    ['since', (member) => member.joined_at?.slice(0, 10)],
    ['state', ({ counts, reasons }) => (counts ? 'member' : describeObstacles(reasons))],
  ];
  const shown = columns.filter(
    ([, cell]) => members.length === 0 || members.some((member) => (cell(member) ?? '') !== ''),
  );
  const table = {
    columns: shown.map(([title]) => title),
    rows: members.map((member) => shown.map(([, cell]) => cell(member))),
  };
  return print(terminal, options, { record: { organization, members }, parts: [table] });
}

/** After users got their first membership: from then on no gate enrols them in the organization of the environment. */
function noteOnEnrolment(
  { organization }: StoreConfig,
  { id, isConfigured }: ChosenOrganization,
  firstTime: number,
): string | undefined {
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
): readonly (string | false)[] {
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
