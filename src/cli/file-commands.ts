/** The commands that look after the file itself. */
import type { BackupOptions } from './backup.ts';
import type { MaintainOptions } from './maintain.ts';
import type { RestoreOptions } from './restore.ts';
import { onDatabase, toDuration } from './words.ts';
import type { CommandLine } from './words.ts';

export function addFileCommands(parts: CommandLine): void {
  addBackup(parts);
  addRestore(parts);
  addMaintain(parts);
}

function addBackup({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('backup')
    .description('copy the database while the backend goes on writing; compressed, and verified by opening the copy')
    .argument('<dir>', 'folder for backups; made where it is missing')
    .option('--keep <time>', 'afterwards delete backups of this folder that are older, such as 30d', toDuration);
  onDatabase(command, 'modelgate backup /backups/mai --keep 30d --database data/webui.db').action(
    async (directory: string, options: BackupOptions) => {
      const { backup } = await import('./backup.ts');
      exitWith(await backup(directory, options, terminal));
    },
  );
}

function addRestore({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('restore')
    .description('put a backup in the place of the database; the backend and the gate must be stopped')
    .argument('<file>', 'backup made by `modelgate backup`, or any copy of the database, compressed or not')
    .option('--yes', 'do it without asking');
  onDatabase(command, 'modelgate restore /backups/mai/webui_20260131_030000.db.gz --database data/webui.db').action(
    async (file: string, options: RestoreOptions) => {
      const { restore } = await import('./restore.ts');
      exitWith(await restore(file, options, terminal));
    },
  );
}

function addMaintain({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('maintain')
    .description('refresh the statistics of the query planner and move the write-ahead log into the file')
    .option('--vacuum', 'also rebuild the file without its gaps; nobody can write meanwhile');
  onDatabase(command, 'modelgate maintain --database data/webui.db', 'modelgate maintain --vacuum').action(
    async (options: MaintainOptions) => {
      const { maintain } = await import('./maintain.ts');
      exitWith(await maintain(options, terminal));
    },
  );
}
