/** `modelgate init` and `migrate`: what a gate makes at its start, and the guide's script `migrate_to_organizations.py`. */
import { resolve } from 'node:path';
import { quotedFew, shellCommand } from '../../backend-file/text.ts';
import type { Operation } from '../../backend-file/transaction.ts';
import { describeSetting, readValues } from '../../config/settings.ts';
import {
  type Migration,
  backUpBeforeMigration,
  initializeBackend,
  isNeeded,
  migrate,
  planMigration,
} from '../../organizations/migration.ts';
import { backUpPolicy } from '../../organizations/policy-backup.ts';
import type { Organization } from '../../store/initialize.ts';
import type { NotLinked } from '../../store/models.ts';
import { changingLedger } from '../ledger.ts';
import { databaseCommand } from '../options.ts';
import { type Fact, type Notes, amounts, counted, grouped, printable, tableOf, whole, withRest } from '../report.ts';
import { type Terminal, misused, say, createProgress } from '../terminal.ts';
import { noteOnSwitch } from './member.ts';
import { noteOnComplaints } from './upkeep.ts';

export const addInit = databaseCommand(
  'init',
  `make the tables, indexes, views and triggers that are missing, and say which
They are the guide's two tables, four indexes and two views, and the triggers by which a gate notices changes; on PostgreSQL those of the ledger too; a second run finds nothing to do. The gate does the same at its start. With an organization that has no rows yet, users who are neither pending nor banned and belong to no other, and models without a base, are linked to it, once. Left out, and said: ids that a grant would read as patterns (b*), and models that users who are no admins have made.
$ modelgate init --database data/webui.db
$ modelgate init --org mai_client_acme --name "Acme" --database data/webui.db`,
  (command) =>
    command
      .option(
        '--org <id>',
        'organization that existing users and models are linked to, once; or OPENROUTER_EXTERNAL_USER',
      )
      .option('--name <name>', 'its name; or ORGANIZATION_NAME'),
  async (options, { config, operation }) => {
    const organization = chooseNewOrganization(config.organization, options);
    const done = await initializeBackend(operation, organization, organization?.id === config.organization?.id);
    // a gate whose role may make no table finds those of its ledger
    if (operation.postgres !== undefined) await changingLedger(operation, () => undefined, { mayBeNew: true });
    const { objects, made, failed, problem } = done.record;
    const table = tableOf(objects, {
      ...({ kind: 'kind', name: 'name' } as const),
      state: ({ state, failure }) => (failure === null ? state : `failed: ${failure}`),
    });
    const all = { made, 'there already': objects.length - made - failed, failed };
    return {
      record: done.record,
      parts: [
        table,
        [
          `${made + failed === 0 ? 'Nothing was missing: ' : ''}${amounts(all).join(', ')}.`,
          ...describeLinks(done),
        ].join('\n'),
      ],
      notes: [
        failed > 0 &&
          `${counted(failed, 'object')} could not be made. Tables that others have made lack a column, or hold a row twice; the gate works without these objects where it says so at its start.`,
        problem !== null && `The gate cannot use this file: ${problem}.`,
      ],
      failed: failed > 0 || problem !== null,
    };
  },
);

/** Linking is the first meeting of the gate and an organization, so this one need not be known. */
function chooseNewOrganization(
  configured: Organization | undefined,
  { org: id = configured?.id, name }: { readonly org?: string; readonly name?: string },
): Organization | undefined {
  if (id === '') throw misused('--org needs the id of an organization.');
  if (id !== undefined) return { id, name: name ?? (id === configured?.id ? configured.name : id) };
  if (name === undefined) return undefined;
  throw misused('--name says what an organization is called: --org ID says which.');
}

function describeLinks({ record, leftOut }: Awaited<ReturnType<typeof initializeBackend>>): readonly string[] {
  const { organization: id, linked_users: users, linked_models: models, left_out_users: elsewhere } = record;
  if (id === null) return [];
  const none = `${printable(id)} has its members and models already, or there are none to link: nothing was linked.`;
  const some = `Linked to ${printable(id)}: ${counted(users, 'user')} and ${counted(models, 'model')}.`;
  const addAll = shellCommand('modelgate', 'member', 'add', '--all', '--org', id);
  const other = `${counted(elsewhere, 'user')} not linked, because another organization has a row of theirs. To add all users: \`${addAll}\``;
  return [users + models === 0 ? none : some, ...(elsewhere === 0 ? [] : [other]), ...describeNotLinked(leftOut)];
}

/** Models that are not linked to an organization by themselves. @returns a sentence for each reason */
const describeNotLinked = ({ unusable, ofUsers }: NotLinked): readonly string[] => [
  ...notLinked(unusable, 'a grant would read the id as a pattern, or no request can name it'),
  ...notLinked(ofUsers, 'a user who is no admin has made it', ' To allow one all the same: `modelgate model allow ID`'),
];

const notLinked = (ids: readonly string[], why: string, more = ''): readonly string[] =>
  ids.length === 0 ? [] : [`${counted(ids.length, 'model')} not linked, because ${why}: ${quotedFew(ids, 3)}.${more}`];

export const addMigrate = databaseCommand(
  'migrate',
  `link all users and models of an existing deployment to one organization, after a verified backup
In place of the guide's backup by hand and its script migrate_to_organizations.py: the same rows and ids, in one transaction. First the database is copied to webui.db.backup.YYYYmmdd_HHMMSS and checked; a damaged one is refused before anything is touched. Users join unless they are pending, models are linked unless they have a base, an id that a grant would read as a pattern (b*), or were made by a user who is no admin; what is there already stays as it is, switched off or not. On PostgreSQL the backup is that of \`modelgate backup --policy\`, in this folder. To go back: modelgate restore webui.db.backup.YYYYmmdd_HHMMSS
$ modelgate migrate --org mai_client_acme --name "Acme" --dry-run --database data/webui.db
$ modelgate migrate --org mai_client_acme --name "Acme" --database data/webui.db`,
  (command) =>
    command
      .requiredOption('--org <id>', 'id of the organization')
      .requiredOption('--name <name>', 'its name')
      .option('--backup-dir <dir>', 'where the backup goes (default: beside the database; this folder for PostgreSQL)')
      .option('--no-backup', 'change the database without a backup')
      .option('--dry-run', 'print the plan and change nothing'),
  async (options, { config, operation, terminal }) => {
    const { org: id, name, dryRun = false } = options;
    requireEnvironmentValues({ id, name });
    const plan = await planMigration(operation, { id, name }, id === config.organization?.id);
    const needed = isNeeded(plan.figures);
    const isChanging = needed && !dryRun;
    const backup = isChanging && options.backup ? await backUp(operation, options.backupDir, terminal) : undefined;
    const { figures, leftOut } = isChanging ? await migrate(operation, { id, name }) : plan;
    const record = {
      organization: { id, name, active: plan.isActive },
      ...{ dry_run: dryRun, changed: isChanging, needed, backup: backup?.path ?? null },
      ...figures,
      environment: { OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: name },
    };
    const about = `${printable(name)} (${printable(id)})`;
    const head = isChanging
      ? `Migrated all users and models to ${about}:`
      : needed
        ? `A migration of all users and models to ${about} would do this. Nothing was changed: this is a dry run.`
        : `Nothing to do: all users and models belong to ${about} already. Nothing was changed, and no backup was needed.`;
    const lines = `Add to .env, and restart the backend and the gate:\n${environmentLines({ id, name })}`;
    return {
      record,
      parts: [head, factsOf(record), describeNotLinked(leftOut).join('\n'), isChanging ? lines : ''],
      notes: [...notesOn(figures, id, plan.isActive), noteOnComplaints(backup?.complaints ?? [])],
    };
  },
);

async function backUp(operation: Operation, folder: string | undefined, terminal: Terminal) {
  using steps = createProgress(terminal);
  const directory = folder === undefined ? undefined : resolve(terminal.directory, folder);
  const now = new Date();
  const made =
    operation.postgres === undefined
      ? await backUpBeforeMigration(operation, { directory, now, onStep: steps.at })
      : { ...(await backUpPolicy(operation, { directory: directory ?? terminal.directory, now })), complaints: [] };
  // said before anything is changed: whatever happens next, this is where the way back is
  say(terminal, `Backed up and checked: ${whole(made.path)}`);
  return made;
}

function factsOf({ made, users, models, total, backup }: Migration['figures'] & { readonly backup: string | null }) {
  const facts: readonly Fact[] = [
    [
      'users joined',
      withRest(users.joined, {
        'as admin': users.joined_admins,
        'banned, whom the gate refuses all the same': users.joined_banned,
        'members of another organization, and then of both': users.joined_elsewhere,
      }),
    ],
    ['models linked', withRest(models.linked, { 'switched off as in the backend': models.linked_inactive })],
    [
      'users left out',
      withRest(users.left_out_pending + users.left_out_without_role, {
        pending: users.left_out_pending,
        'without a role': users.left_out_without_role,
      }),
    ],
    ['presets not linked', `${grouped(models.left_out_presets)}: a preset follows its base model`],
    ['members untouched', withRest(users.present, { 'switched off': users.present_off })],
    ['grants untouched', withRest(models.present, { 'switched off': models.present_off })],
    ['objects made', made],
    ['members now', total?.members],
    ['models now', total?.models],
    ['backup', backup ?? undefined],
  ];
  return facts.filter(([, value]) => !/^0/.test(String(value)) && String(value) !== '');
}

function notesOn({ failed, users, models }: Migration['figures'], id: string, isActive: boolean): Notes {
  const unlinked = (count: number, what: string, command: string): string | false =>
    count > 0 &&
    `${counted(count, what)} could not be linked, because the id that the guide makes for the row belongs to another row. With another id: \`${command} --org ORGANIZATION\``;
  return [
    ...failed.map(
      (words) =>
        `A table that others have made does not allow ${printable(words)}. The gate works without it, more slowly.`,
    ),
    unlinked(users.left_out_id_taken, 'user', 'modelgate member add USER'),
    unlinked(models.left_out_id_taken, 'model', 'modelgate model allow ID'),
    noteOnSwitch(id, isActive),
  ];
}

/** What the gate's own settings would refuse must not get into the database. @throws CommandFailure, exit code 2 */
function requireEnvironmentValues({ id, name }: Organization): void {
  if (id === '' || name === '') throw misused(`${id === '' ? '--org' : '--name'} is empty. Nothing was changed.`);
  const [refused] = readValues({ OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: name }).reasons;
  if (refused === undefined) return;
  const option = refused[0] === 'ORGANIZATION_NAME' ? '--name' : '--org';
  throw misused(`${option}: ${refused[1]}; expected ${describeSetting(refused[0]).expected}. Nothing was changed.`);
}

/** @returns two lines; a value is quoted where it must be, the name always, as in the guide */
const environmentLines = ({ id, name }: Organization): string =>
  `OPENROUTER_EXTERNAL_USER=${/^[\w.@%+:,/-]+$/.test(id) ? id : inQuotes(id)}\nORGANIZATION_NAME=${inQuotes(name)}`;

const inQuotes = (value: string): string => `"${value.replace(/[\\"$`]/g, '\\$&')}"`;
