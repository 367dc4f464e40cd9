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
import { type OptionsOf, commandOf, configureOperation, onDatabase } from '../options.ts';
import { createStepProgress } from '../prompt.ts';
import { asLines, counted, print, printable } from '../report.ts';
import { type Terminal, say, misused } from '../terminal.ts';
import { countKinds, describeNotLinked } from './init.ts';
import { noteOnSwitch } from './member.ts';
import { noteOnComplaints } from './upkeep.ts';

const declare = (program: Command) =>
  onDatabase(
    program
      .command('migrate')
      .summary('link all users and models of an existing deployment to one organization, after a verified backup')
      .description(
        "Link an existing deployment to one organization, in place of the guide's backup by hand and its script migrate_to_organizations.py: the same rows and ids, in one transaction. First the database is copied to webui.db.backup.YYYYmmdd_HHMMSS and checked; a damaged one is refused before anything is touched. Users join unless they are pending, models are linked unless they have a base, an id that a grant would read as a pattern (b*), or were made by a user who is no admin; what is there already stays as it is, switched off or not. To go back: modelgate restore webui.db.backup.YYYYmmdd_HHMMSS",
      )
      .requiredOption('--org <id>', 'id of the organization')
      .requiredOption('--name <name>', 'its name')
      .option('--backup-dir <dir>', 'where the backup goes (default: beside the database)')
      .option('--dry-run', 'print the plan and change nothing'),
    'modelgate migrate --org mai_client_acme --name "Acme" --dry-run --database data/webui.db',
    'modelgate migrate --org mai_client_acme --name "Acme" --database data/webui.db',
  );

export const addMigrate = commandOf(declare, migrate);
async function migrate(options: OptionsOf<typeof declare>, terminal: Terminal): Promise<number> {
  const organization = { id: options.org, name: options.name };
  requireEnvironmentValues(organization);
  const { config, operation } = configureOperation(options, terminal);
  const dryRun = options.dryRun === true;
  const plan = await planMigration(operation, organization, organization.id === config.organization?.id);
  const needed = isNeeded(plan.figures);
  const backup = needed && !dryRun ? await backUp() : undefined;
  const result = backup === undefined ? undefined : await migrateFile(operation, organization);
  const { figures } = result ?? plan;
  const record = {
    organization: { ...organization, active: plan.isActive },
    dry_run: dryRun,
    changed: result !== undefined,
    needed,
    backup: backup?.path ?? null,
    ...figures,
    environment: { OPENROUTER_EXTERNAL_USER: organization.id, ORGANIZATION_NAME: organization.name },
  };
  const about = `${printable(organization.name)} (${printable(organization.id)})`;
  const parts =
    result === undefined || backup === undefined
      ? [describePlan(plan, about, needed, dryRun)]
      : describeResult(result, backup.path, organization, about);
  const notes = [...notesOn(figures, organization.id, plan.isActive), noteOnComplaints(backup?.complaints ?? [])];
  return print(terminal, options, { record, parts, notes });

  async function backUp() {
    const steps = createStepProgress(terminal);
    const directory = options.backupDir === undefined ? undefined : resolve(terminal.directory, options.backupDir);
    const made = await backUpBeforeMigration(operation, { directory, now: new Date(), onStep: steps.onStep }).finally(
      steps.end,
    );
    // said before anything is changed: whatever happens next, this is where the way back is
    say(terminal, `Backed up and checked: ${printable(made.path, false)}`);
    return made;
  }
}

function describePlan(plan: Migration, about: string, needed: boolean, dryRun: boolean): string {
  const unchanged = dryRun ? '' : ' Nothing was changed, and no backup was needed.';
  const head = needed
    ? `A migration of all users and models to ${about} would do this:`
    : `Nothing to do: all users and models belong to ${about} already.${unchanged}`;
  const end = dryRun && needed ? ['Nothing was changed: this is a dry run.'] : [];
  return [head, ...describeFigures(plan, false), ...end].join('\n');
}

function describeResult(result: Migration, backup: string, organization: Organization, about: string): string[] {
  const { total } = result.figures;
  const rows = asLines([
    ['organization', `${organization.name} (${organization.id})`],
    ['members', total?.members.toLocaleString('en') ?? ''],
    ['models', total?.models.toLocaleString('en') ?? ''],
    ['backup', backup],
  ]);
  return [
    [`Migrated all users and models to ${about}:`, ...describeFigures(result, true)].join('\n'),
    rows,
    `Add to .env, and restart the backend and the gate:\n${environmentLines(organization)}`,
  ];
}

function notesOn({ failed, users, models }: Migration['figures'], id: string, isActive: boolean) {
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

function describeFigures({ figures: { made, users, models }, leftOut }: Migration, isDone: boolean): readonly string[] {
  const some = (count: number, what: string): string =>
    count === 0 ? '' : `, ${count.toLocaleString('en')} of them ${what}`;
  const among = `${some(users.joined_admins, 'as admin')}${some(users.joined_banned, 'banned, whom the gate refuses all the same')}${some(users.joined_elsewhere, 'members of another organization, and then of both')}`;
  const parts: readonly (readonly [count: number, one: string, rest: string])[] = [
    [users.joined, 'user', `${isDone ? 'joined' : 'to join'}${among}`],
    [models.linked, 'model', `${isDone ? '' : 'to be '}linked${some(models.linked_inactive, OFF_THERE)}`],
    [users.left_out_pending, 'pending user', 'left out'],
    [users.left_out_without_role, 'user', 'without a role left out'],
    [models.left_out_presets, 'preset', 'not linked: a preset follows its base model'],
    [users.present, 'member', `there already, untouched${some(users.present_off, 'switched off')}`],
    [models.present, 'grant', `there already, untouched${some(models.present_off, 'switched off')}`],
    [made.length, 'object', `${isDone ? 'made' : 'to make'}: ${summary(made)}`],
  ];
  const said = parts.filter(([count]) => count > 0).map(([count, one, rest]) => `${counted(count, one)} ${rest}`);
  return [...said, ...describeNotLinked(leftOut)].map((line) => `  ${line}`);
}

const OFF_THERE = 'switched off as in the backend';

/** Such as `tables a, b; 4 indexes`: tables by name, because operators look for them. */
function summary(made: readonly string[]): string {
  const objects = made.map((object) => object.split(' ')).map(([kind = '', name = '']) => ({ kind, name }));
  const tables = objects.filter(({ kind }) => kind === 'table').map(({ name }) => name);
  const rest = countKinds(objects.filter(({ kind }) => kind !== 'table'));
  return [...(tables.length === 0 ? [] : [`tables ${tables.join(', ')}`]), ...rest].join('; ');
}

/** What the gate's own settings would refuse must not get into the database. @throws CommandFailure, exit code 2 */
function requireEnvironmentValues({ id, name }: Organization): void {
  for (const [option, value] of Object.entries({ '--org': id, '--name': name })) {
    const why = refusal(value);
    if (why !== undefined) throw misused(`${option} ${why}. Nothing was changed.`);
  }
}

function refusal(value: string): string | undefined {
  if (value === '') return 'is empty';
  if (value.length > 256) return 'is longer than 256 characters';
  if (/[\u0000-\u001f\u007f]/.test(value) || !value.isWellFormed()) return 'contains control characters';
  return value === value.trim() ? undefined : 'has a space at one of its ends';
}

/** @returns two lines; a value is quoted where it must be, the name always, as in the guide */
const environmentLines = ({ id, name }: Organization): string =>
  `OPENROUTER_EXTERNAL_USER=${/^[\w.@%+:,/-]+$/.test(id) ? id : inQuotes(id)}\nORGANIZATION_NAME=${inQuotes(name)}`;

const inQuotes = (value: string): string => `"${value.replace(/[\\"$`]/g, '\\$&')}"`;
