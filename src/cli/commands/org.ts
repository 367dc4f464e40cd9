/** `modelgate org list` and `org show`: what the file knows of organizations. Changes nothing. */
import { shellCommand } from '../../backend-file/text.ts';
import type { Obstacle } from '../../organizations/members.ts';
import type { BackendAdmin, OrganizationPortrait, OrganizationSummary } from '../../organizations/summary.ts';
import { listOrganizations as readOrganizations, portrayOrganization } from '../../organizations/summary.ts';
import { chooseOrganization, configureOperation } from '../configured.ts';
import type { DatabaseOptions } from '../options.ts';
import { counted } from '../format.ts';
import type { Cell } from '../report.ts';
import { asJson, asRows, asTable } from '../report.ts';
import type { Terminal } from '../terminal.ts';
import { EXIT, say, tell } from '../terminal.ts';
import { OBSTACLES, counts } from './obstacles.ts';

/** @throws CommandFailure or OperationFailure where the file cannot be read */
export async function listOrganizations(options: DatabaseOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const organizations = await readOrganizations(operation, config.organization);
  if (options.json === true) {
    terminal.write(asJson({ organizations: organizations.map(toJson) }));
    return EXIT.done;
  }
  if (organizations.length === 0) {
    say(terminal, 'There is no organization yet. To make one: `modelgate member add USER --org ID --create`');
    return EXIT.done;
  }
  terminal.write(
    asTable(
      terminal,
      ['organization', 'name', 'members', 'grants', 'state'],
      organizations.map(({ id, name, isActive, members, grants }): Cell[] => [
        ...[id, name],
        withRest(members.active, {
          off: members.all - members.active,
          'not counted': members.active - members.counting,
        }),
        withRest(grants.active, { off: grants.all - grants.active }),
        isActive ? 'on' : 'off',
      ]),
    ),
  );
  return EXIT.done;
}

/** Such as `4 (1 off)`. */
function withRest(count: number, rest: Readonly<Record<string, number>>): string {
  const parts = Object.entries(rest).filter(([, some]) => some > 0);
  const said = parts.map(([what, some]) => `${some.toLocaleString('en')} ${what}`);
  return `${count.toLocaleString('en')}${said.length === 0 ? '' : ` (${said.join(', ')})`}`;
}

function toJson({ id, name, isActive, isConfigured, members, grants }: OrganizationSummary): unknown {
  return {
    id,
    name,
    active: isActive,
    configured: isConfigured,
    members: { active: members.active, all: members.all, counting: members.counting },
    grants: { active: grants.active, all: grants.all },
  };
}

/** @throws CommandFailure or OperationFailure where the file cannot be read, or nobody has named the organization */
export async function showOrganization(
  id: string | undefined,
  options: DatabaseOptions,
  terminal: Terminal,
): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const chosen = chooseOrganization(config, { org: id }, '`modelgate org show ID`');
  const portrait = await portrayOrganization(operation, chosen, config.organization);
  if (options.json === true) terminal.write(asJson(portraitToJson(portrait)));
  else tell(terminal, describe(portrait));
  return EXIT.done;
}

function portraitToJson(portrait: OrganizationPortrait): unknown {
  const { id, name, isActive, isConfigured, members, grants, backendAdmins, parts } = portrait;
  return {
    id,
    name,
    active: isActive,
    configured: isConfigured,
    members: {
      counting: members.filter(counts).length,
      active: members.filter((member) => member.isActive).length,
      all: members.length,
    },
    grants: { active: grants.filter((grant) => grant.isActive).length, all: grants.length },
    models: grants.map(({ pattern, isActive: on }) => ({ pattern, active: on })),
    organization_admins: members
      .filter(({ organizationRole }) => organizationRole === 'admin')
      .map(({ id: user, email, isActive: active }) => ({ id: user, email, active })),
    backend_admins: backendAdmins.map((admin) => ({ ...admin, member: membershipOf(portrait, admin) })),
    schema: parts.map(({ kind, expected, missing }) => ({ kind, expected, missing })),
    complete: parts.every(({ missing }) => missing.length === 0),
  };
}

/** @returns `active`, `inactive`, or null for whoever is no member */
function membershipOf({ members }: OrganizationPortrait, { id }: BackendAdmin): 'active' | 'inactive' | null {
  const rows = members.filter((member) => member.id === id);
  if (rows.length === 0) return null;
  return rows.some(({ isActive }) => isActive) ? 'active' : 'inactive';
}

type Row = readonly [name: string, value: Cell];

function describe(portrait: OrganizationPortrait): string {
  const { id, name, isActive, isConfigured, members, grants, backendAdmins, parts } = portrait;
  const admins = members.filter(({ organizationRole }) => organizationRole === 'admin');
  const active = grants.filter((grant) => grant.isActive);
  const off = grants.length - active.length;
  const missing = parts.flatMap((part) => part.missing.map((object) => `${part.kind} ${object}`));
  return asRows([
    ['organization', id],
    ['name', name],
    ['active', isActive ? 'yes' : 'no: client_organizations switches it off, so it gives nothing'],
    ...(isConfigured ? [['configured', 'yes: OPENROUTER_EXTERNAL_USER names it'] as const] : []),
    ['members', countMembers(portrait)],
    ...listed(
      'its admins',
      admins.map((member) => `${named(member)}${member.isActive ? '' : ', switched off'}`),
      shellCommand('modelgate', 'member', 'list', '--org', id),
    ),
    ...listed(
      'backend admins',
      backendAdmins.map((admin) => `${named(admin)}${MEMBERSHIP[String(membershipOf(portrait, admin))] ?? ''}`),
    ),
    ...listed(
      'models',
      active.map(({ pattern }) => pattern),
      shellCommand('modelgate', 'model', 'list', '--org', id),
    ),
    ...(off === 0 ? [] : [['', `${counted(off, 'grant')} switched off`] as const]),
    ...parts.map((part): Row => [PLURALS[part.kind], `${part.expected - part.missing.length} of ${part.expected}`]),
    ...listed('missing', missing).filter(() => missing.length > 0),
    ...(missing.length === 0 ? [] : [['', '`modelgate init`'] as const]),
  ]);
}

const PLURALS = { table: 'tables', index: 'indexes', view: 'views', trigger: 'triggers' } as const;

const MEMBERSHIP: Readonly<Record<string, string>> = { null: ', no member', inactive: ', switched off', active: '' };

const named = ({ id, email }: BackendAdmin): string => (email === null ? id : `${email} (${id})`);

/** Such as `14, of which 12 count: 1 switched off, 1 pending`. */
function countMembers({ members }: OrganizationPortrait): string {
  const left = new Map<Obstacle, number>();
  for (const { obstacles } of members) {
    for (const obstacle of obstacles) left.set(obstacle, (left.get(obstacle) ?? 0) + 1);
  }
  const counting = members.filter(counts).length;
  if (counting === members.length) return counting.toLocaleString('en');
  const reasons = [...left].map(([obstacle, count]) => `${count.toLocaleString('en')} ${OBSTACLES[obstacle]}`);
  return `${members.length.toLocaleString('en')}, of which ${counting.toLocaleString('en')} count: ${reasons.join(', ')}`;
}

/** The first ones, a row each; `command` shows them all. */
function listed(label: string, values: readonly string[], command?: string): readonly Row[] {
  if (values.length === 0) return [[label, 'none']];
  const rows = values.slice(0, MOST_LISTED).map((value, index): Row => [index === 0 ? label : '', value]);
  const rest = values.length - rows.length;
  if (rest === 0) return rows;
  const where = command === undefined ? '; --json shows all' : `: \`${command}\``;
  return [...rows, ['', `and ${rest.toLocaleString('en')} more${where}`]];
}

const MOST_LISTED = 20;
