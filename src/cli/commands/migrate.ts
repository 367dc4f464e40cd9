/** `modelgate migrate`: in place of the guide's backup by hand and its script `migrate_to_organizations.py`. */
import { resolve } from 'node:path';
import type { Command } from '@commander-js/extra-typings';
import {
  type Migration,
  backUpBeforeMigration,
  isNeeded,
  migrate as migrateFile,
  planMigration,
} from '../../organizations/migration.ts';
import type { Organization } from '../../store/initialize.ts';
import { configureOperation } from '../configured.ts';
import { type CommandLine, type OptionsOf, onDatabase } from '../options.ts';
import { asLines, printable, counted, asJson } from '../report.ts';
import { createProgress, createStepProgress } from '../prompt.ts';
import { type Terminal, CommandFailure, EXIT, say, tell } from '../terminal.ts';
import { warnOfComplaints } from './backup.ts';
import { countKinds, describeNotLinked } from './organization-words.ts';

/** Adds `migrate`. */
export function addMigrate({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (options) => exitWith(await migrate(options, terminal)));
}

const declare = (program: Command) =>
  onDatabase(
    program
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
      .option('--dry-run', 'print the plan and change nothing'),
    'modelgate migrate --org mai_client_acme --name "Acme" --dry-run --database data/webui.db',
    'modelgate migrate --org mai_client_acme --name "Acme" --database data/webui.db',
  );

type MigrateOptions = OptionsOf<typeof declare>;

/** @throws CommandFailure or OperationFailure where nothing was changed */
async function migrate(options: MigrateOptions, terminal: Terminal): Promise<number> {
  const organization = { id: options.org, name: options.name };
  requireEnvironmentValues(organization);
  const { config, operation } = configureOperation(options, terminal);
  const dryRun = options.dryRun === true;
  const plan = await planMigration(operation, organization, organization.id === config.organization?.id);
  if (dryRun || !isNeeded(plan.figures)) return finish({ plan, dryRun });
  const backup = await backUp();
  const progress = createProgress(terminal, 'linking', 'row');
  const result = await migrateFile(operation, organization, progress.at).finally(progress.end);
  return finish({ plan, dryRun, backup, result });

  async function backUp(): Promise<Backup> {
    const steps = createStepProgress(terminal);
    const directory = options.backupDir === undefined ? undefined : resolve(terminal.directory, options.backupDir);
    const made = await backUpBeforeMigration(operation, { directory, now: new Date(), onStep: steps.onStep }).finally(
      steps.end,
    );
    // said before anything is changed: whatever happens next, this is where the way back is
    say(terminal, `Backed up and checked: ${printable(made.path, false)}`);
    return made;
  }

  function finish(outcome: Outcome): number {
    if (options.json === true) terminal.write(asJson(toRecord(outcome, organization)));
    else tell(terminal, describe(outcome, organization));
    warn(terminal, outcome, organization);
    return EXIT.done;
  }
}

type Backup = Awaited<ReturnType<typeof backUpBeforeMigration>>;

interface Outcome {
  readonly plan: Migration;
  readonly dryRun: boolean;
  /** Absent where nothing was changed. */
  readonly backup?: Backup;
  readonly result?: Migration;
}

/** What `--json` prints. */
function toRecord({ plan, dryRun, backup, result }: Outcome, { id, name }: Organization) {
  return {
    organization: { id, name, active: plan.isActive },
    dry_run: dryRun,
    changed: result !== undefined,
    needed: isNeeded(plan.figures),
    backup: backup?.path ?? null,
    ...(result ?? plan).figures,
    environment: { OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: name },
  };
}

function describe({ plan, dryRun, backup, result }: Outcome, organization: Organization): string {
  const about = `${printable(organization.name)} (${printable(organization.id)})`;
  const words = describePlan(result ?? plan, result !== undefined);
  const total = result?.figures.total;
  if (total === undefined || total === null || backup === undefined) {
    const nothing = isNeeded(plan.figures)
      ? `A migration of all users and models to ${about} would do this:\n`
      : `Nothing to do: all users and models belong to ${about} already.${dryRun ? '' : ' Nothing was changed, and no backup was needed.'}\n`;
    return `${nothing}${words}${dryRun && isNeeded(plan.figures) ? 'Nothing was changed: this is a dry run.\n' : ''}`;
  }
  const rows = asLines([
    ['organization', `${organization.name} (${organization.id})`],
    ['members', total.members.toLocaleString('en')],
    ['models', total.models.toLocaleString('en')],
    ['backup', backup.path],
  ]);
  return `Migrated all users and models to ${about}:\n${words}\n${rows}\nAdd to .env, and restart the backend and the gate:\n${environmentLines(organization)}`;
}

function warn(terminal: Terminal, { plan, backup, result }: Outcome, { id }: Organization): void {
  warnOfComplaints(terminal, backup?.complaints ?? []);
  const { failed, users, models } = (result ?? plan).figures;
  for (const words of failed) {
    say(
      terminal,
      `A table that others have made does not allow ${printable(words)}. The gate works without it, more slowly.`,
    );
  }
  const unlinked = (count: number, what: string, command: string): void => {
    if (count === 0) return;
    say(
      terminal,
      `${counted(count, what)} could not be linked, because the id that the guide makes for the row belongs to another row. With another id: \`${command} --org ORGANIZATION\``,
    );
  };
  unlinked(users.left_out_id_taken, 'user', 'modelgate member add USER');
  unlinked(models.left_out_id_taken, 'model', 'modelgate model allow ID');
  if (!plan.isActive) {
    say(
      terminal,
      `${printable(id)} is switched off in client_organizations: nothing in it counts until that is changed.`,
    );
  }
}

// The plan of a migration, or what it has done, in sentences.

/** @param isDone it happened; else it would happen */
function describePlan({ figures, leftOut }: Migration, isDone: boolean): string {
  const { made, users, models } = figures;
  const join = isDone ? 'joined' : users.joined === 1 ? 'joins' : 'join';
  const inactive =
    models.linked_inactive === 0 ? '' : `, ${figure(models.linked_inactive)} of them switched off as in the backend`;
  return [
    part(users.joined, 'user', `${join}${among(users)}`),
    part(models.linked, 'model', `linked${inactive}`),
    part(users.left_out_pending, 'pending user', 'left out'),
    part(users.left_out_without_role, 'user', 'without a role left out'),
    part(models.left_out_presets, 'preset', 'not linked: a preset follows its base model'),
    ...describeNotLinked(leftOut).map((sentence) => `  ${sentence}\n`),
    part(users.present, 'member', `there already, untouched${off(users.present_off)}`),
    part(models.present, 'grant', `there already, untouched${off(models.present_off)}`),
    part(made.length, 'object', `${isDone ? 'made' : 'to make'}: ${summary(made)}`),
  ].join('');
}

const figure = (count: number): string => count.toLocaleString('en');

const part = (count: number, one: string, rest: string): string =>
  count === 0 ? '' : `  ${counted(count, one)} ${rest}\n`;

function among(users: Migration['figures']['users']): string {
  const { joined_admins: admins, joined_banned: banned, joined_elsewhere: elsewhere } = users;
  const parts = [
    ...(admins === 0 ? [] : [`${figure(admins)} as admin`]),
    ...(banned === 0 ? [] : [`${counted(banned, 'banned user')} among them, whom the gate refuses all the same`]),
    ...(elsewhere === 0 ? [] : [`${figure(elsewhere)} of them members of another organization, and then of both`]),
  ];
  return parts.map((words) => `, ${words}`).join('');
}

const off = (count: number): string => (count === 0 ? '' : `, ${figure(count)} of them switched off`);

/** Such as `tables a, b; 4 indexes`: tables by name, because operators look for them. */
function summary(made: readonly string[]): string {
  const objects = made.map((object) => object.split(' ')).map(([kind = '', name = '']) => ({ kind, name }));
  const tables = objects.filter(({ kind }) => kind === 'table').map(({ name }) => name);
  const rest = countKinds(objects.filter(({ kind }) => kind !== 'table'));
  const label = tables.length === 1 ? 'table' : 'tables';
  return [...(tables.length === 0 ? [] : [`${label} ${tables.join(', ')}`]), ...rest].join('; ');
}

// The two lines of the deployment guide's step 4, as Compose and shells read them back.

const LONGEST = 256;

/** What the gate's own settings would refuse must not get into the database. @throws CommandFailure, exit code 2 */
function requireEnvironmentValues({ id, name }: Organization): void {
  for (const [option, value] of [
    ['--org', id],
    ['--name', name],
  ] as const) {
    const why = refusal(value);
    if (why !== undefined) throw new CommandFailure(`${option} ${why}. Nothing was changed.`, EXIT.misused);
  }
}

function refusal(value: string): string | undefined {
  if (value === '') return 'is empty';
  if (value.length > LONGEST) return `is longer than ${LONGEST} characters`;
  if (/[\u0000-\u001f\u007f]/.test(value) || !value.isWellFormed()) return 'contains control characters';
  return value === value.trim() ? undefined : 'has a space at one of its ends';
}

/** @returns two lines; a value is quoted where it must be, the name always, as in the guide */
function environmentLines({ id, name }: Organization): string {
  return `OPENROUTER_EXTERNAL_USER=${/^[\w.@%+:,/-]+$/.test(id) ? id : inQuotes(id)}\nORGANIZATION_NAME=${inQuotes(name)}\n`;
}

const inQuotes = (value: string): string => `"${value.replace(/[\\"$`]/g, '\\$&')}"`;
