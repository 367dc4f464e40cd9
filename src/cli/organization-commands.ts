/** The commands that make and manage organizations, their members and their models. */
import type { Command } from 'commander';
import type { InitOptions } from './init.ts';
import type { MemberAddOptions, MemberListOptions, MemberRemoveOptions } from './member.ts';
import type { MigrateOptions } from './migrate.ts';
import type { ModelAllowOptions, ModelDenyOptions, ModelListOptions } from './model.ts';
import type { ModelSyncOptions } from './model-sync.ts';
import type { OrganizationOptions } from './organization.ts';
import { onDatabase } from './words.ts';
import type { CommandLine } from './words.ts';

export function addOrganizationCommands(parts: CommandLine): void {
  addInit(parts);
  addMigrate(parts);
  addOrganization(parts);
  addMember(parts);
  addModel(parts);
}

function addInit({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('init')
    .description('make the tables, indexes, views and triggers that are missing, and say which')
    .option(
      '--org <id>',
      'organization that existing users and models are linked to, once; or OPENROUTER_EXTERNAL_USER',
    )
    .option('--name <name>', 'its name; or ORGANIZATION_NAME');
  onDatabase(command, 'modelgate init --database data/webui.db').action(async (options: InitOptions) => {
    const { init } = await import('./init.ts');
    exitWith(await init(options, terminal));
  });
}

function addMigrate({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('migrate')
    .description('link all users and models of an existing deployment to one organization, after a verified backup')
    .requiredOption('--org <id>', 'id of the organization')
    .requiredOption('--name <name>', 'its name')
    .option('--backup-dir <dir>', 'where the backup goes (default: beside the database)')
    .option('--dry-run', 'print the plan and change nothing');
  onDatabase(
    command,
    'modelgate migrate --org mai_client_acme --name "Acme" --dry-run --database data/webui.db',
    'modelgate migrate --org mai_client_acme --name "Acme" --database data/webui.db',
  ).action(async (options: MigrateOptions) => {
    const { migrate } = await import('./migrate.ts');
    exitWith(await migrate(options, terminal));
  });
}

function addOrganization({ program, terminal, exitWith }: CommandLine): void {
  const group = program.command('org').description('show organizations');
  onDatabase(
    group.command('list').description('every organization, with its members and models'),
    'modelgate org list --database data/webui.db',
  ).action(async (options: OrganizationOptions) => {
    const { listOrganizations } = await import('./organization.ts');
    exitWith(await listOrganizations(options, terminal));
  });
  onDatabase(
    group
      .command('show')
      .description('one organization: members, admins, models, and whether its tables are complete')
      .argument('[id]', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)'),
    'modelgate org show mai_client_acme --database data/webui.db',
  ).action(async (id: string | undefined, options: OrganizationOptions) => {
    const { showOrganization } = await import('./organization.ts');
    exitWith(await showOrganization(id, options, terminal));
  });
}

const inOrganization = (command: Command): Command =>
  command.option('--org <id>', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)');

const CREATE = 'make the organization where nobody has named it yet';

function addMember({ program, terminal, exitWith }: CommandLine): void {
  const group = program.command('member').description('add, remove and list the users of an organization');
  const add = inOrganization(group.command('add').description('make users members of an organization'))
    .argument('[users...]', 'ids or e-mail addresses')
    .option('--all', 'every user who is neither pending nor banned')
    .option('--role <role>', 'role in the organization; the gate does not look at it', 'member')
    .option('--create', CREATE);
  onDatabase(
    add,
    'modelgate member add alice@example.com --org mai_client_acme',
    'modelgate member add --all --org mai_client_acme',
  ).action(async (users: string[], options: MemberAddOptions) => {
    const { addMembers } = await import('./member.ts');
    exitWith(await addMembers(users, options, terminal));
  });
  const remove = inOrganization(group.command('remove').description('switch memberships off'))
    .argument('<users...>', 'ids or e-mail addresses')
    .option('--purge', 'delete the rows; a user of the organization named in the environment may then join again');
  onDatabase(remove, 'modelgate member remove alice@example.com --org mai_client_acme').action(
    async (users: string[], options: MemberRemoveOptions) => {
      const { removeMembers } = await import('./member.ts');
      exitWith(await removeMembers(users, options, terminal));
    },
  );
  const list = inOrganization(group.command('list').description('members of an organization')).option(
    '--active',
    'only those that count',
  );
  onDatabase(list, 'modelgate member list --org mai_client_acme').action(async (options: MemberListOptions) => {
    const { listMembers } = await import('./member.ts');
    exitWith(await listMembers(options, terminal));
  });
}

function addModel({ program, terminal, exitWith }: CommandLine): void {
  const group = program.command('model').description('allow, deny, list and synchronize the models of an organization');
  const allow = inOrganization(group.command('allow').description('let an organization use models'))
    .argument('<models...>', 'ids as the backend spells them; a * at the end allows every id with this beginning')
    .option('--create', CREATE);
  onDatabase(
    allow,
    'modelgate model allow openai/gpt-4o --org mai_client_acme',
    "modelgate model allow 'mistral/*' --org mai_client_acme",
  ).action(async (models: string[], options: ModelAllowOptions) => {
    const { allowModels } = await import('./model.ts');
    exitWith(await allowModels(models, options, terminal));
  });
  const deny = inOrganization(group.command('deny').description('switch grants off'))
    .argument('<models...>', 'ids as they were allowed')
    .option('--purge', 'delete the rows');
  onDatabase(deny, 'modelgate model deny openai/gpt-4o --org mai_client_acme').action(
    async (models: string[], options: ModelDenyOptions) => {
      const { denyModels } = await import('./model.ts');
      exitWith(await denyModels(models, options, terminal));
    },
  );
  const list = inOrganization(group.command('list').description('what an organization grants')).option(
    '--active',
    'only what counts',
  );
  onDatabase(list, 'modelgate model list --org mai_client_acme').action(async (options: ModelListOptions) => {
    const { listModels } = await import('./model.ts');
    exitWith(await listModels(options, terminal));
  });
  addModelSync(group, { terminal, exitWith });
}

function addModelSync(group: Command, { terminal, exitWith }: Pick<CommandLine, 'terminal' | 'exitWith'>): void {
  const sync = inOrganization(
    group.command('sync').description('allow every model of a catalogue, and show the difference before it is written'),
  )
    .option('--from <source>', 'table, config or live: where the catalogue is read', 'table')
    .option('--url <url>', 'with --from live: the backend (default: MODELGATE_UPSTREAM_URL)')
    .option('--token-file <file>', "with --from live: an admin's API key or session token, - reads standard input")
    .option('--remove', 'also switch off what the catalogue does not have')
    .option('--create', CREATE)
    .option('--dry-run', 'show the difference and change nothing')
    .option('--yes', 'write without asking');
  onDatabase(
    sync,
    'modelgate model sync --org mai_client_acme --dry-run',
    'modelgate model sync --org mai_client_acme --from live --token-file admin-key.txt --yes',
  ).action(async (options: ModelSyncOptions) => {
    const { syncModels } = await import('./model-sync.ts');
    exitWith(await syncModels(options, terminal));
  });
}
