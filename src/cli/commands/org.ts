/** `modelgate org list` and `org show`: what the file knows of organizations. Changes nothing. */
import { shellCommand } from '../../backend-file/text.ts';
import { OBSTACLES } from '../../organizations/obstacles.ts';
import {
  listOrganizations as readOrganizations,
  showOrganization as readOrganization,
} from '../../organizations/summary.ts';
import { chooseOrganization, configureOperation } from '../configured.ts';
import { type CommandLine, type DatabaseOptions, onDatabase, withExamples } from '../options.ts';
import { type Cell, asTable, counted, asJson, asRows } from '../report.ts';
import { type Terminal, EXIT, say, tell } from '../terminal.ts';
import { PLURALS } from './organization-words.ts';

/** Adds `org list` and `org show`. */
export function addOrg({ program, terminal, exitWith }: CommandLine): void {
  const group = withExamples(
    program.command('org').description('show organizations'),
    'modelgate org list --database data/webui.db',
    'modelgate help org show',
  );
  onDatabase(
    group.command('list').description('list the organizations, with how many members and grants each has'),
    'modelgate org list --database data/webui.db',
  ).action(async (options) => exitWith(await listOrganizations(options, terminal)));
  onDatabase(
    group
      .command('show')
      .summary('show one organization: members, admins, models, and whether its tables are complete')
      .description(
        "Show one organization: how many members count and why others do not, its own admins and the backend's, what it " +
          'grants, and whether tables, indexes, views and triggers are complete.',
      )
      .argument('[id]', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)'),
    'modelgate org show mai_client_acme --database data/webui.db',
  ).action(async (id, options) => exitWith(await showOrganization(id, options, terminal)));
}

/** @throws CommandFailure or OperationFailure where the file cannot be read */
async function listOrganizations(options: DatabaseOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const record = await readOrganizations(operation, config.organization);
  const { organizations } = record;
  if (options.json === true) {
    terminal.write(asJson(record));
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
      organizations.map(({ id, name, active, members, grants }): Cell[] => [
        ...[id, name],
        withRest(members.active, {
          off: members.all - members.active,
          'not counted': members.active - members.counting,
        }),
        withRest(grants.active, { off: grants.all - grants.active }),
        active ? 'on' : 'off',
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

/** @throws CommandFailure or OperationFailure where the file cannot be read, or no row names the organization */
async function showOrganization(id: string | undefined, options: DatabaseOptions, terminal: Terminal): Promise<number> {
  const { config, operation } = configureOperation(options, terminal);
  const chosen = chooseOrganization(config, { org: id }, '`modelgate org show ID`');
  const shown = await readOrganization(operation, chosen, config.organization);
  if (options.json === true) terminal.write(asJson(shown.record));
  else tell(terminal, describe(shown));
  return EXIT.done;
}

type Shown = Awaited<ReturnType<typeof readOrganization>>;
type Row = readonly [name: string, value: Cell];

function describe(shown: Shown): string {
  const { id, name, active, configured, grants, models, schema, ...record } = shown.record;
  const off = grants.all - grants.active;
  const missing = schema.flatMap((part) => part.missing.map((object) => `${part.kind} ${object}`));
  return asRows([
    ['organization', id],
    ['name', name],
    ['active', active ? 'yes' : 'no: client_organizations switches it off, so it gives nothing'],
    ...(configured ? [['configured', 'yes: OPENROUTER_EXTERNAL_USER names it'] as const] : []),
    ['members', countMembers(shown)],
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
    ...(off === 0 ? [] : [['', `${counted(off, 'grant')} switched off`] as const]),
    ...schema.map((part): Row => [PLURALS[part.kind], `${part.expected - part.missing.length} of ${part.expected}`]),
    ...listed('missing', missing).filter(() => missing.length > 0),
    ...(missing.length === 0 ? [] : [['', '`modelgate init`'] as const]),
  ]);
}

const MEMBERSHIP = { none: ', no member', inactive: ', switched off', active: '' } as const;

const named = ({ id, email }: { readonly id: string; readonly email: string | null }): string =>
  email === null ? id : `${email} (${id})`;

/** Such as `14, of which 12 count: 1 switched off, 1 pending`. */
function countMembers({ record: { members }, obstacles }: Shown): string {
  const { all, counting } = members;
  if (counting === all) return all.toLocaleString('en');
  const reasons = [...obstacles].map(([obstacle, count]) => `${count.toLocaleString('en')} ${OBSTACLES[obstacle]}`);
  return `${all.toLocaleString('en')}, of which ${counting.toLocaleString('en')} count: ${reasons.join(', ')}`;
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
