/** `modelgate backup`: in place of the guide's `backup.sh`. */
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import { type Backup, backUp } from '../../upkeep/backup.ts';
import { configureOperation } from '../configured.ts';
import { type CommandLine, onDatabase, toRetention } from '../options.ts';
import { createStepProgress } from '../prompt.ts';
import { asDuration, asJson, asLines, counted, inSeconds, printable } from '../report.ts';
import { type Terminal, CommandFailure, EXIT, say } from '../terminal.ts';

const DESCRIPTION =
  "Copy the database while the backend goes on writing, in place of the guide's backup.sh. The copy is opened, " +
  'checked (integrity_check) and counted, packed into DIR/webui_YYYYmmdd_HHMMSS.db.gz (local time, as `date` writes it), ' +
  'and unpacked again to see that nothing was lost. With --keep, older files of this name are deleted after that: their ' +
  'age is what the name says, the new one always stays, and where anything fails nothing is deleted.';

const KEEP = 'afterwards delete backups of this folder that are older, such as 30d; at least 1d';

/** Adds `backup`, which ends with code 1 where the backup is good and an old one could not be deleted. */
export function addBackup({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('backup')
    .summary('copy the database while the backend goes on writing; compressed, and verified by opening the copy')
    .description(DESCRIPTION)
    .argument('<dir>', 'folder for backups; made where it is missing')
    .option('--keep <time>', KEEP, toRetention);
  const example = 'modelgate backup /backups/mai --keep 30d --database data/webui.db';
  onDatabase(command, example).action(async (directory, options) => {
    if (directory === '') throw new CommandFailure('Name the folder for the backups.', EXIT.misused);
    const { operation } = configureOperation(options, terminal);
    const steps = createStepProgress(terminal);
    const made = await backUp(operation, {
      directory: resolve(terminal.directory, directory),
      keepMs: options.keep,
      now: new Date(),
      onStep: steps.onStep,
    }).finally(steps.end);
    terminal.write(options.json === true ? asJson(made) : describe(made, options.keep));
    warnOfComplaints(terminal, made.complaints);
    for (const { path, code } of made.not_deleted) {
      say(terminal, `The backup is good, but the old one ${path} could not be deleted (${code}).`);
    }
    exitWith(made.not_deleted.length > 0 ? EXIT.failed : EXIT.done);
  });
}

function describe(made: Backup, keepMs: number | undefined): string {
  const { path, bytes, deleted } = made;
  const rows: [string, string][] = [
    ['backup', path],
    ['size', `${asSize(bytes)}, ${asSize(made.database_bytes)} unpacked`],
    ['verified', describeFacts(made)],
    ['time', inSeconds(made.seconds * 1000)],
  ];
  if (made.made_directory) rows.push(['folder', 'made, for this user alone']);
  if (keepMs !== undefined) {
    const age = asDuration(keepMs);
    const some: [string, string] = ['deleted', `${counted(deleted.length, 'backup')} older than ${age}:`];
    rows.push(deleted.length > 0 ? some : ['older', `none: nothing is older than ${age}`]);
  }
  return asLines([...rows, ...deleted.map((old) => ['', old] as const)]);
}

type Counts = Pick<Backup, 'users' | 'models' | 'members' | 'grants'>;

/** @returns such as `integrity ok, 14 users, 9 models, 12 memberships, 8 grants` */
export const describeFacts = ({ users, models, members, grants }: Counts): string =>
  `integrity ok, ${counted(users, 'user')}, ${counted(models, 'model')}, ${counted(members, 'membership')}, ${counted(grants, 'grant')}`;

/** Warns of rows that break a rule of their table, which is no damage of the disk. */
export function warnOfComplaints(terminal: Terminal, complaints: readonly string[]): void {
  const [first] = complaints;
  if (first === undefined) return;
  const broken = `${counted(complaints.length, 'rule')} of a table broken by a row, such as: ${printable(first)}`;
  say(terminal, `integrity_check finds no damage, but ${broken}. The row was copied as it is.`);
}
