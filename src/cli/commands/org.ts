/** `modelgate org list` and `org show`: what the file knows of organizations. Changes nothing. */
import type { Command } from '@commander-js/extra-typings';
import { shellCommand } from '../../backend-file/text.ts';
import { OBSTACLES } from '../../organizations/standing.ts';
import { listOrganizations, showOrganization } from '../../organizations/access.ts';
import {
  type DatabaseOptions,
  chooseOrganization,
  commandOf,
  configureOperation,
  groupOf,
  onDatabase,
} from '../options.ts';
import { type Fact, counted, print } from '../report.ts';
import type { Terminal } from '../terminal.ts';
import { PLURALS } from './init.ts';

const declareList = (group: Command) =>
  onDatabase(
    group.command('list').description('list the organizations, with how many members and grants each has'),
    'modelgate org list --database data/webui.db',
  );

const declareShow = (group: Command) =>
  onDatabase(
    group
      .command('show')
      .summary('show one organization: members, admins, models, and whether its tables are complete')
      .description(
        "Show one organization: how many members count and why others do not, its own admins and the backend's, what it grants, and whether tables, indexes, views and triggers are complete.",
      )
      .argument('[id]', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)'),
    'modelgate org show mai_client_acme --database data/webui.db',
  );

export const addOrg = groupOf(
  'org',
  'show organizations',
  ['modelgate org list --database data/webui.db', 'modelgate help org show'],
  commandOf(declareList, list),
  commandOf(declareShow, show),
);

async function list(options: DatabaseOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const record = await listOrganizations(operation, config.organization);
  const rows = record.organizations.map(({ id, name, active, members, grants }) => [
    ...[id, name],
    withRest(members.active, { off: members.all - members.active, 'not counted': members.active - members.counting }),
    withRest(grants.active, { off: grants.all - grants.active }),
    active ? 'on' : 'off',
  ]);
  const isEmpty = rows.length === 0 && options.json !== true;
  return print(terminal, options, {
    record,
    parts: isEmpty ? [] : [{ columns: ['organization', 'name', 'members', 'grants', 'state'], rows }],
    notes: [isEmpty && 'There is no organization yet. To make one: `modelgate member add USER --org ID --create`'],
  });
}

function withRest(count: number, rest: Readonly<Record<string, number>>): string {
  const parts = Object.entries(rest).filter(([, some]) => some > 0);
  const said = parts.map(([what, some]) => `${some.toLocaleString('en')} ${what}`);
  return `${count.toLocaleString('en')}${said.length === 0 ? '' : ` (${said.join(', ')})`}`;
}

async function show(id: string | undefined, options: DatabaseOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const chosen = chooseOrganization(config, { org: id }, '`modelgate org show ID`');
  const shown = await showOrganization(operation, chosen, config.organization);
  return print(terminal, options, { record: shown.record, parts: [factsOf(shown)] });
}

type Shown = Awaited<ReturnType<typeof showOrganization>>;

function factsOf({ record, members }: Shown): readonly Fact[] {
  const { id, name, active, configured, grants, models, schema } = record;
  const off = grants.all - grants.active;
  const missing = schema.flatMap((part) => part.missing.map((object) => `${part.kind} ${object}`));
  const named = (admin: { readonly id: string; readonly email: string | null }): string =>
    admin.email === null ? admin.id : `${admin.email} (${admin.id})`;
  return [
    ['organization', id],
    ['name', name],
    ['active', active ? 'yes' : 'no: client_organizations switches it off, so it gives nothing'],
    ...when(configured, ['configured', 'yes: OPENROUTER_EXTERNAL_USER names it']),
    ['members', countMembers(record.members, members)],
    ...listed(
      'its admins',
      record.organization_admins.map((admin) => `${named(admin)}${admin.active ? '' : ', switched off'}`),
      shellCommand('modelgate', 'member', 'list', '--org', id),
    ),
    ...listed(
      'backend admins',
      record.backend_admins.map((admin) => `${named(admin)}${MEMBERSHIP[admin.member ?? 'none']}`),
    ),
    ...listed(
      'models',
      models.filter((model) => model.active).map(({ pattern }) => pattern),
      shellCommand('modelgate', 'model', 'list', '--org', id),
    ),
    ...when(off > 0, ['', `${counted(off, 'grant')} switched off`]),
    ...schema.map((part): Fact => [PLURALS[part.kind], `${part.expected - part.missing.length} of ${part.expected}`]),
    ...(missing.length === 0 ? [] : [...listed('missing', missing), ['', '`modelgate init`'] as const]),
  ];
}

const when = (isSo: boolean, fact: Fact): readonly Fact[] => (isSo ? [fact] : []);

const MEMBERSHIP = { none: ', no member', inactive: ', switched off', active: '' } as const;

function countMembers({ all, counting }: Shown['record']['members'], members: Shown['members']): string {
  if (counting === all) return all.toLocaleString('en');
  const kinds = Map.groupBy(
    members.flatMap(({ reasons }) => reasons),
    (reason) => OBSTACLES[reason],
  );
  const reasons = [...kinds].map(([words, found]) => `${found.length.toLocaleString('en')} ${words}`);
  return `${all.toLocaleString('en')}, of which ${counting.toLocaleString('en')} count: ${reasons.join(', ')}`;
}

function listed(label: string, values: readonly string[], command?: string): readonly Fact[] {
  if (values.length === 0) return [[label, 'none']];
  const facts = values.slice(0, MOST_LISTED).map((value, index): Fact => [index === 0 ? label : '', value]);
  const rest = values.length - facts.length;
  const where = command === undefined ? '; --json shows all' : `: \`${command}\``;
  return [...facts, ...when(rest > 0, ['', `and ${rest.toLocaleString('en')} more${where}`])];
}

const MOST_LISTED = 20;
