/** `modelgate member add`, `remove` and `list`: who belongs to an organization. */
import type { Command } from '@commander-js/extra-typings';
import { quoted } from '../../backend-file/text.ts';
import { nearest } from '../../nearest.ts';
import {
  type Member,
  type MemberChange,
  addAllUsers,
  addMembers as addNamed,
  listMembers as readMembers,
  removeMembers as removeNamed,
} from '../../organizations/members.ts';
import { describeObstacles } from '../../organizations/obstacles.ts';
import { configureOrganization } from '../configured.ts';
import { type Cell, asTable, counted, asJson, printable } from '../report.ts';
import { type CommandLine, type OptionsOf, inOrganization, onDatabase, withExamples } from '../options.ts';
import { createProgress } from '../prompt.ts';
import { type Terminal, CommandFailure, EXIT } from '../terminal.ts';
import { CREATE, warnOfEnrolment, warnOfOrganization, warnOfReturn } from './organization-words.ts';

/** Adds `member add`, `remove` and `list`. */
export function addMember({ program, terminal, exitWith }: CommandLine): void {
  const group = withExamples(
    program.command('member').description('add, remove and list the users of an organization'),
    'modelgate member list --org mai_client_acme',
    'modelgate help member add',
  );
  declareAdd(group).action(async (users, options) => exitWith(await addMembers(users, options, terminal)));
  declareRemove(group).action(async (users, options) => exitWith(await removeMembers(users, options, terminal)));
  declareList(group).action(async (options) => exitWith(await listMembers(options, terminal)));
}

const declareAdd = (group: Command) =>
  onDatabase(
    inOrganization(
      group
        .command('add')
        .summary('make users members of an organization')
        .description(
          'Make users members of an organization, all of them or none. A user who is pending or banned is refused; with --all ' +
            'such users are skipped, and a user who has a membership keeps it as it is. A named user whose membership is switched off ' +
            'gets it back.',
        ),
    )
      .argument('[users...]', 'ids or e-mail addresses')
      .option('--all', 'every user who is neither pending nor banned')
      .option('--role <role>', 'member or admin, which the gate does not look at (default: member for new ones)')
      .option('--create', CREATE)
      .option('--as-is', 'take a role of another name'),
    'modelgate member add alice@example.com --org mai_client_acme',
    'modelgate member add --all --org mai_client_acme',
  );

const declareRemove = (group: Command) =>
  onDatabase(
    inOrganization(
      group
        .command('remove')
        .summary('switch memberships off')
        .description(
          'Switch memberships off. The rows stay, because they keep the users out: a user who has none in any organization ' +
            'is enrolled by the gate in that of its environment (MODELGATE_AUTO_ENROLL).',
        ),
    )
      .argument('<users...>', 'ids or e-mail addresses')
      .option('--purge', 'delete the rows; a user without any is then enrolled in the organization of the environment'),
    'modelgate member remove alice@example.com --org mai_client_acme',
  );

const declareList = (group: Command) =>
  onDatabase(
    inOrganization(group.command('list').description('list the members of an organization, and why some do not count'))
      .option('--active', 'only those that count')
      .option('--ids', 'show the ids of the users, too'),
    'modelgate member list --org mai_client_acme',
  );

const ROLES = ['member', 'admin'];

/**
 * @param users ids or e-mail addresses
 * @throws CommandFailure or OperationFailure; then no user was added
 */
async function addMembers(
  users: readonly string[],
  options: OptionsOf<typeof declareAdd>,
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

/** @throws CommandFailure with exit code 2 for a role that neither the guide nor mAI has */
function requireRole({ role, asIs }: OptionsOf<typeof declareAdd>): void {
  if (role === undefined || ROLES.includes(role) || (asIs === true && role !== '')) return;
  const meant = nearest(role, ROLES);
  throw new CommandFailure(
    `${quoted(role)} is no role in an organization: member and admin are. No user was added.${meant === undefined ? '' : ` Did you mean ${meant}?`}${role === '' ? '' : ' --as-is writes it all the same.'}`,
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

/**
 * @param users ids or e-mail addresses
 * @throws CommandFailure or OperationFailure; then no user was removed
 */
async function removeMembers(
  users: readonly string[],
  options: OptionsOf<typeof declareRemove>,
  terminal: Terminal,
): Promise<number> {
  const { purge = false } = options;
  const { config, operation, chosen } = configureOrganization(options, terminal);
  const removed = await removeNamed(operation, chosen, { named: users, purge });
  terminal.write(options.json === true ? asJson(removed.record) : describeChanges(terminal, removed.record));
  if (purge) warnOfReturn(terminal, config, chosen, { of: 'users', ...removed });
  return EXIT.done;
}

/** @throws CommandFailure or OperationFailure where the file cannot be read, or no row names the organization */
async function listMembers(options: OptionsOf<typeof declareList>, terminal: Terminal): Promise<number> {
  const { operation, chosen } = configureOrganization(options, terminal);
  const { organization, members: all } = await readMembers(operation, chosen);
  const members = options.active === true ? all.filter(({ counts }) => counts) : all;
  terminal.write(
    options.json === true ? asJson({ organization, members }) : asMemberTable(terminal, members, options.ids === true),
  );
  return EXIT.done;
}

/** A column that is empty for all members is left out. */
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
