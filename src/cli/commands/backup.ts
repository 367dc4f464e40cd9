/** `modelgate backup`: in place of the guide's `backup.sh`. */
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import type { Backup } from '../../upkeep/backup.ts';
import { backUp } from '../../upkeep/backup.ts';
import { configureOperation } from '../configured.ts';
import { asDuration, counted, inSeconds } from '../format.ts';
import type { DatabaseOptions } from '../options.ts';
import { createStepProgress } from '../progress.ts';
import { asJson, asLines } from '../report.ts';
import type { Terminal } from '../terminal.ts';
import { CommandFailure, EXIT, say } from '../terminal.ts';
import { describeFacts, warnOfComplaints } from './copy-facts.ts';

export interface BackupOptions extends DatabaseOptions {
  /** Milliseconds. */
  readonly keep?: number;
}

/**
 * @returns code 1 where the backup is good and an old one could not be deleted
 * @throws CommandFailure or OperationFailure where there is no good backup; then nothing was deleted
 */
export async function backup(directory: string, options: BackupOptions, terminal: Terminal): Promise<number> {
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
  return made.not_deleted.length > 0 ? EXIT.failed : EXIT.done;
}

function describe(made: Backup, keepMs: number | undefined): string {
  const { path, bytes, deleted } = made;
  const rows: (readonly [string, string])[] = [
    ['backup', path],
    ['size', `${asSize(bytes)}, ${asSize(made.database_bytes)} unpacked`],
    ['verified', describeFacts(made)],
    ['time', inSeconds(made.seconds * 1000)],
  ];
  if (made.made_directory) rows.push(['folder', 'made, for this user alone']);
  if (keepMs !== undefined) {
    rows.push([
      deleted.length === 0 ? 'older' : 'deleted',
      deleted.length === 0
        ? `none: nothing is older than ${asDuration(keepMs)}`
        : `${counted(deleted.length, 'backup')} older than ${asDuration(keepMs)}:`,
    ]);
    rows.push(...deleted.map((old) => ['', old] as const));
  }
  return asLines(rows);
}
