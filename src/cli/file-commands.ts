/** The commands that look after the file itself. */
import type { BackupOptions } from './commands/backup.ts';
import type { MaintainOptions } from './commands/maintain.ts';
import type { RestoreOptions } from './commands/restore.ts';
import type { CommandLine } from './options.ts';
import { onDatabase, toRetention } from './options.ts';

/** Adds `backup`, `restore`, `maintain`. */
export function addFileCommands(parts: CommandLine): void {
  addBackup(parts);
  addRestore(parts);
  addMaintain(parts);
}

function addBackup({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('backup')
    .summary('copy the database while the backend goes on writing; compressed, and verified by opening the copy')
    .description(
      "Copy the database while the backend goes on writing, in place of the guide's backup.sh. The copy is opened, " +
        'checked (integrity_check) and counted, packed into DIR/webui_YYYYmmdd_HHMMSS.db.gz (local time, as `date` writes it), ' +
        'and unpacked again to see that nothing was lost. With --keep, older files of this name are deleted after that: their ' +
        'age is what the name says, the new one always stays, and where anything fails nothing is deleted.',
    )
    .argument('<dir>', 'folder for backups; made where it is missing')
    .option(
      '--keep <time>',
      'afterwards delete backups of this folder that are older, such as 30d; at least 1d',
      toRetention,
    );
  onDatabase(command, 'modelgate backup /backups/mai --keep 30d --database data/webui.db').action(
    async (directory: string, options: BackupOptions) => {
      const { backup } = await import('./commands/backup.ts');
      exitWith(await backup(directory, options, terminal));
    },
  );
}

function addRestore({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('restore')
    .summary('put a backup in the place of the database; the backend and the gate must be stopped')
    .description(
      'Put a backup in the place of the database. The backup is unpacked beside it and checked before anything is touched. ' +
        'Refuses while a process has the database open, holds a lock on it, or a backend answers at MODELGATE_UPSTREAM_URL: stop ' +
        'the backend and the gate first. What is replaced is kept as webui.db.replaced.YYYYmmdd_HHMMSS, with all that it holds.',
    )
    .argument('<file>', 'backup made by `modelgate backup`, or any copy of the database, compressed or not')
    .option('--yes', 'do it without asking');
  onDatabase(command, 'modelgate restore /backups/mai/webui_20260131_030000.db.gz --database data/webui.db').action(
    async (file: string, options: RestoreOptions) => {
      const { restore } = await import('./commands/restore.ts');
      exitWith(await restore(file, options, terminal));
    },
  );
}

function addMaintain({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('maintain')
    .summary('refresh the statistics of the query planner and move the write-ahead log into the file')
    .description(
      'Look after the file while the backend runs: ANALYZE refreshes the statistics that the query planner goes by, and in ' +
        "WAL mode a checkpoint moves the log into the file. The journal mode stays the backend's. --vacuum also rebuilds the file " +
        'without its gaps: it needs twice the size of the file on the same disk, and nobody can write until it is done.',
    )
    .option('--vacuum', 'also rebuild the file without its gaps; nobody can write meanwhile');
  onDatabase(command, 'modelgate maintain --database data/webui.db', 'modelgate maintain --vacuum').action(
    async (options: MaintainOptions) => {
      const { maintain } = await import('./commands/maintain.ts');
      exitWith(await maintain(options, terminal));
    },
  );
}
