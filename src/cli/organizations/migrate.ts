/** `modelgate migrate`: in place of the guide's backup by hand and its script `migrate_to_organizations.py`. */
import { resolve } from 'node:path';
import type { MigrationBackup } from '../../operations/organizations/migration-backup.ts';
import { backUpBeforeMigration } from '../../operations/organizations/migration-backup.ts';
import type { Migration } from '../../operations/organizations/migration-plan.ts';
import { isNeeded, planMigration } from '../../operations/organizations/migration-plan.ts';
import type { MigrationResult } from '../../operations/organizations/migration.ts';
import { migrate as migrateFile } from '../../operations/organizations/migration.ts';
import type { Organization } from '../../store/initialize.ts';
import { configureOperation } from '../configured.ts';
import { warnOfComplaints } from '../copies/copy-facts.ts';
import { createStepProgress } from '../copies/step-progress.ts';
import { asLines, asJson, counted, printable } from '../output.ts';
import { createProgress } from '../progress.ts';
import type { Terminal } from '../terminal.ts';
import { EXIT, say, tell } from '../terminal.ts';
import type { DatabaseOptions } from '../words.ts';
import { environmentLines, requireEnvironmentValues } from './environment-lines.ts';
import { describePlan } from './migration-words.ts';

export interface MigrateOptions extends DatabaseOptions {
  readonly org: string;
  readonly name: string;
  readonly backupDir?: string;
  readonly dryRun?: boolean;
}

/** @throws CommandFailure or OperationFailure where nothing was changed */
export async function migrate(options: MigrateOptions, terminal: Terminal): Promise<number> {
  const organization = { id: options.org, name: options.name };
  requireEnvironmentValues(organization);
  const { config, operation } = configureOperation(options, terminal);
  const print = (outcome: Outcome): number => {
    if (options.json === true) terminal.write(asJson(toJson(outcome, organization)));
    else tell(terminal, describe(outcome, organization));
    warn(terminal, outcome, organization);
    return EXIT.done;
  };

  const plan = await planMigration(operation, organization, organization.id === config.organization?.id);
  if (options.dryRun === true || !isNeeded(plan)) return print({ plan, dryRun: options.dryRun === true });
  const backup = await backUp();
  const progress = createProgress(terminal, 'linking', 'row');
  const result = await migrateFile(operation, organization, progress.at).finally(progress.end);
  return print({ plan, dryRun: false, backup, result });

  async function backUp(): Promise<MigrationBackup> {
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

interface Outcome {
  readonly plan: Migration;
  readonly dryRun: boolean;
  /** Absent where nothing was changed. */
  readonly backup?: MigrationBackup;
  readonly result?: MigrationResult;
}

function describe({ plan, dryRun, backup, result }: Outcome, organization: Organization): string {
  const about = `${printable(organization.name)} (${printable(organization.id)})`;
  const words = describePlan(result ?? plan, { isDone: result !== undefined });
  if (result === undefined || backup === undefined) {
    const nothing = isNeeded(plan)
      ? `A migration of everybody to ${about} would do this:\n`
      : `Nothing to do: everybody and everything belongs to ${about} already.${dryRun ? '' : ' Nothing was changed, and no backup was needed.'}\n`;
    return `${nothing}${words}${dryRun && isNeeded(plan) ? 'Nothing was changed: this is a dry run.\n' : ''}`;
  }
  const rows = asLines([
    ['organization', `${organization.name} (${organization.id})`],
    ['members', result.total.members.toLocaleString('en')],
    ['models', result.total.models.toLocaleString('en')],
    ['backup', backup.path],
  ]);
  return `Migrated everybody to ${about}:\n${words}\n${rows}\nAdd to .env, and restart the backend and the gate:\n${environmentLines(organization)}`;
}

function warn(terminal: Terminal, { plan, backup, result }: Outcome, { id }: Organization): void {
  warnOfComplaints(terminal, backup?.complaints ?? []);
  for (const words of result?.failed ?? []) {
    say(
      terminal,
      `A table that others have made does not allow ${printable(words)}. The gate works without it, more slowly.`,
    );
  }
  const { users = 0, models = 0 } = result?.idTaken ?? {};
  if (users > 0) {
    say(
      terminal,
      `${counted(users, 'user')} could not be linked, because the id that the guide makes for the row belongs to another row. With another id: \`modelgate member add USER --org ORGANIZATION\``,
    );
  }
  if (models > 0) {
    say(
      terminal,
      `${counted(models, 'model')} could not be linked, because the id that the guide makes for the row belongs to another row. With another id: \`modelgate model allow ID --org ORGANIZATION\``,
    );
  }
  if (plan.switchedOff) {
    say(
      terminal,
      `${printable(id)} is switched off in client_organizations: nothing in it counts until that is changed.`,
    );
  }
}

function toJson({ plan, dryRun, backup, result }: Outcome, organization: Organization): unknown {
  const { made, users, models, switchedOff } = result ?? plan;
  return {
    organization: { id: organization.id, name: organization.name, active: !switchedOff },
    dry_run: dryRun,
    changed: result !== undefined,
    needed: isNeeded(plan),
    backup: backup?.path ?? null,
    made,
    failed: result?.failed ?? [],
    users: {
      joined: users.joining,
      joined_admins: users.admins,
      joined_banned: users.banned,
      joined_elsewhere: users.elsewhere,
      present: users.present,
      present_off: users.presentOff,
      left_out_pending: users.pending,
      left_out_without_role: users.withoutRole,
      left_out_id_taken: result?.idTaken.users ?? 0,
    },
    models: {
      linked: models.linked,
      linked_inactive: models.inactive,
      present: models.present,
      present_off: models.presentOff,
      left_out_presets: models.presets,
      left_out_unusable: models.leftOut.unusable.length,
      left_out_of_users: models.leftOut.ofUsers.length,
      left_out_id_taken: result?.idTaken.models ?? 0,
    },
    total: result === undefined ? null : result.total,
    environment: { OPENROUTER_EXTERNAL_USER: organization.id, ORGANIZATION_NAME: organization.name },
  };
}
