/** The commands that make and manage organizations, their members and their models. */
import type { Command } from '@commander-js/extra-typings';
import { Option } from '@commander-js/extra-typings';
import type { InitOptions } from './commands/init.ts';
import type { MemberAddOptions, MemberListOptions, MemberRemoveOptions } from './commands/member.ts';
import type { MigrateOptions } from './commands/migrate.ts';
import type { ModelAllowOptions, ModelDenyOptions, ModelListOptions } from './commands/model.ts';
import type { CommandLine, DatabaseOptions } from './options.ts';
import { inOrganization, onDatabase, toOrigin, withExamples } from './options.ts';

/** Adds `init`, `migrate`, `org`, `member`, `model`. */
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
    .summary('make the tables, indexes, views and triggers that are missing, and say which')
    .description(
      "Make what is missing of the guide's two tables, four indexes and two views, and the triggers by which a gate " +
        'notices changes, and say which; a second run finds nothing to do. The gate does the same at its start. With an ' +
        'organization that has no rows yet, users who are neither pending nor banned and belong to no other, and models without a base, are linked to it, once. ' +
        'Left out, and said: ids that a grant would read as patterns (b*), and models that users who are no admins have made.',
    )
    .option(
      '--org <id>',
      'organization that existing users and models are linked to, once; or OPENROUTER_EXTERNAL_USER',
    )
    .option('--name <name>', 'its name; or ORGANIZATION_NAME');
  onDatabase(
    command,
    'modelgate init --database data/webui.db',
    'modelgate init --org mai_client_acme --name "Acme" --database data/webui.db',
  ).action(async (options: InitOptions) => {
    const { init } = await import('./commands/init.ts');
    exitWith(await init(options, terminal));
  });
}

function addMigrate({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('migrate')
    .summary('link all users and models of an existing deployment to one organization, after a verified backup')
    .description(
      "Link an existing deployment to one organization, in place of the guide's backup by hand and its script " +
        'migrate_to_organizations.py: the same rows and ids, in one transaction. First the database is copied to ' +
        'webui.db.backup.YYYYmmdd_HHMMSS and checked; a damaged one is refused before anything is touched. Users join unless ' +
        'they are pending, models are linked unless they have a base, an id that a grant would read as a pattern (b*), or were ' +
        'made by a user who is no admin; what is there already stays as it is, switched off or not. ' +
        'To go back: modelgate restore webui.db.backup.YYYYmmdd_HHMMSS',
    )
    .requiredOption('--org <id>', 'id of the organization')
    .requiredOption('--name <name>', 'its name')
    .option('--backup-dir <dir>', 'where the backup goes (default: beside the database)')
    .option('--dry-run', 'print the plan and change nothing');
  onDatabase(
    command,
    'modelgate migrate --org mai_client_acme --name "Acme" --dry-run --database data/webui.db',
    'modelgate migrate --org mai_client_acme --name "Acme" --database data/webui.db',
  ).action(async (options: MigrateOptions) => {
    const { migrate } = await import('./commands/migrate.ts');
    exitWith(await migrate(options, terminal));
  });
}

function addOrganization({ program, terminal, exitWith }: CommandLine): void {
  const group = withExamples(
    program.command('org').description('show organizations'),
    'modelgate org list --database data/webui.db',
    'modelgate help org show',
  );
  onDatabase(
    group.command('list').description('list the organizations, with how many members and grants each has'),
    'modelgate org list --database data/webui.db',
  ).action(async (options: DatabaseOptions) => {
    const { listOrganizations } = await import('./commands/org.ts');
    exitWith(await listOrganizations(options, terminal));
  });
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
  ).action(async (id: string | undefined, options: DatabaseOptions) => {
    const { showOrganization } = await import('./commands/org.ts');
    exitWith(await showOrganization(id, options, terminal));
  });
}

const CREATE = 'make the organization where nobody has named it yet';

function addMember({ program, terminal, exitWith }: CommandLine): void {
  const group = withExamples(
    program.command('member').description('add, remove and list the users of an organization'),
    'modelgate member list --org mai_client_acme',
    'modelgate help member add',
  );
  const add = inOrganization(
    group
      .command('add')
      .summary('make users members of an organization')
      .description(
        'Make users members of an organization, all of them or none. Whoever is pending or banned is refused; with --all ' +
          'they are skipped, and whoever has a membership keeps it as it is. A named user whose membership is switched off ' +
          'gets it back.',
      ),
  )
    .argument('[users...]', 'ids or e-mail addresses')
    .option('--all', 'every user who is neither pending nor banned')
    .option('--role <role>', 'member or admin, which the gate does not look at (default: member for new ones)')
    .option('--create', CREATE)
    .option('--as-is', 'take a role of another name');
  onDatabase(
    add,
    'modelgate member add alice@example.com --org mai_client_acme',
    'modelgate member add --all --org mai_client_acme',
  ).action(async (users: string[], options: MemberAddOptions) => {
    const { addMembers } = await import('./commands/member.ts');
    exitWith(await addMembers(users, options, terminal));
  });
  const remove = inOrganization(
    group
      .command('remove')
      .summary('switch memberships off')
      .description(
        'Switch memberships off. The rows stay, because they keep the users out: whoever has none in any organization ' +
          'is enrolled by the gate in that of its environment (MODELGATE_AUTO_ENROLL).',
      ),
  )
    .argument('<users...>', 'ids or e-mail addresses')
    .option('--purge', 'delete the rows; a user without any is then enrolled in the organization of the environment');
  onDatabase(remove, 'modelgate member remove alice@example.com --org mai_client_acme').action(
    async (users: string[], options: MemberRemoveOptions) => {
      const { removeMembers } = await import('./commands/member.ts');
      exitWith(await removeMembers(users, options, terminal));
    },
  );
  const description = 'list the members of an organization, and why some do not count';
  const list = inOrganization(group.command('list').description(description))
    .option('--active', 'only those that count')
    .option('--ids', 'show the ids of the users, too');
  onDatabase(list, 'modelgate member list --org mai_client_acme').action(async (options: MemberListOptions) => {
    const { listMembers } = await import('./commands/member.ts');
    exitWith(await listMembers(options, terminal));
  });
}

function addModel({ program, terminal, exitWith }: CommandLine): void {
  const group = withExamples(
    program.command('model').description('allow, deny, list and synchronize the models of an organization'),
    'modelgate model list --org mai_client_acme',
    'modelgate help model allow',
  );
  const allow = inOrganization(
    group
      .command('allow')
      .summary('let an organization use models')
      .description(
        'Let an organization use models, all of those that are named or none. An id is taken exactly as it is written, ' +
          'never split; a * at its end, and only there, allows every id with this beginning. Presets follow their base model.',
      ),
  )
    .argument('<models...>', 'ids as the backend spells them; a * at the end allows every id with this beginning')
    .option('--create', CREATE)
    .option('--as-is', 'take ids that look like mistakes: spaces at an end, quotes, a list, an address');
  onDatabase(
    allow,
    'modelgate model allow openai/gpt-4o --org mai_client_acme',
    "modelgate model allow 'mistral/*' --org mai_client_acme",
  ).action(async (models: string[], options: ModelAllowOptions) => {
    const { allowModels } = await import('./commands/model.ts');
    exitWith(await allowModels(models, options, terminal));
  });
  const deny = inOrganization(
    group
      .command('deny')
      .summary('switch grants off')
      .description(
        'Switch grants off, and say what still allows the same models: an id can be covered by a grant such as openai/* too.',
      ),
  )
    .argument('<models...>', 'ids as they were allowed')
    .option('--purge', 'delete the rows');
  onDatabase(deny, 'modelgate model deny openai/gpt-4o --org mai_client_acme').action(
    async (models: string[], options: ModelDenyOptions) => {
      const { denyModels } = await import('./commands/model.ts');
      exitWith(await denyModels(models, options, terminal));
    },
  );
  const list = inOrganization(group.command('list').description('list what an organization grants')).option(
    '--active',
    'only what counts',
  );
  onDatabase(list, 'modelgate model list --org mai_client_acme').action(async (options: ModelListOptions) => {
    const { listModels } = await import('./commands/model.ts');
    exitWith(await listModels(options, terminal));
  });
  addModelSync(group, { terminal, exitWith });
}

function addModelSync(group: Command, { terminal, exitWith }: Pick<CommandLine, 'terminal' | 'exitWith'>): void {
  const sync = inOrganization(
    group.command('sync').description('allow every model of a catalogue, and show the difference before it is written'),
  )
    .addOption(
      new Option('--from <source>', 'where the catalogue is read')
        .choices(['table', 'config', 'live'] as const)
        .default('table'),
    )
    .addOption(
      new Option('--url <url>', 'with --from live: the backend (default: MODELGATE_UPSTREAM_URL)').argParser(toOrigin),
    )
    .option('--token-file <file>', "with --from live: an admin's API key or session token, - reads standard input")
    .option('--presets', 'also allow presets by their own ids')
    .option('--remove', 'also switch off what the catalogue does not have')
    .option('--switch-on', 'also switch on again what somebody has switched off')
    .option('--create', CREATE)
    .option('--dry-run', 'show the difference and change nothing')
    .option('--yes', 'write without asking')
    .addHelpText('after', ABOUT_SYNC);
  onDatabase(
    sync,
    'modelgate model sync --org mai_client_acme --dry-run',
    'modelgate model sync --org mai_client_acme --from live --token-file admin-key.txt --yes',
  ).action(async (options) => {
    const { syncModels } = await import('./commands/sync.ts');
    exitWith(await syncModels(options, terminal));
  });
}

const ABOUT_SYNC = `
Where the catalogue comes from:
  table   rows of the backend's model table without a base model, as the guide's migration links them: models that somebody has edited in the backend, and no others
  config  ids that the backend's connections list one by one, with their prefixes, from the configuration in the file
  live    everything that an admin sees at GET /api/models of the running backend. Ask the backend itself: where something on the way, such as the gate, hides models from this admin, that is said and nothing is done

Left out, and said: presets (without --presets), arena models, models that are switched off in the backend, rows and presets that users who are no admins have made, private presets that another organization was granted, ids that a grant would read as patterns. \`modelgate model allow ID\` allows one of them all the same. A model that a grant such as openai/* covers needs no row. A grant that somebody has switched off stays off. --remove touches neither patterns nor presets, arenas and what a provider that does not answer may have.`;
