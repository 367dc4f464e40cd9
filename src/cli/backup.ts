/** `modelgate backup`: in place of the guide's `backup.sh`. */
import { resolve } from 'node:path';
import { backUp } from '../operations/copies/backup.ts';
import type { Backup } from '../operations/copies/backup.ts';
import { asSize } from '../operations/copies/disk-space.ts';
import { operationOn, requireStoreConfig } from './configured.ts';
import { warnOfComplaints } from './complaints.ts';
import { asJson, counted } from './output.ts';
import { asLines, createStepProgress, inSeconds, inWords } from './steps.ts';
import { CommandFailure, EXIT } from './terminal.ts';
import type { Terminal } from './terminal.ts';
import type { DatabaseOptions } from './words.ts';

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
  const config = requireStoreConfig(terminal, { file: options.config, database: options.database });
  const steps = createStepProgress(terminal);
  const started = performance.now();
  const made = await backUp(operationOn(config, terminal, options), {
    directory: resolve(terminal.directory, directory),
    keepMs: options.keep,
    now: new Date(),
    onStep: steps.onStep,
  }).finally(steps.end);
  const elapsedMs = performance.now() - started;
  terminal.write(options.json === true ? asJson(toJson(made, elapsedMs)) : describe(made, elapsedMs, options.keep));
  warnOfComplaints(terminal, made.complaints);
  for (const { path, code } of made.stuck) {
    terminal.writeError(`modelgate: The backup is good, but the old one ${path} could not be deleted (${code}).\n`);
  }
  return made.stuck.length > 0 ? EXIT.failed : EXIT.done;
}

function toJson({ path, bytes, databaseBytes, facts, madeDirectory, ...made }: Backup, elapsedMs: number): unknown {
  return {
    path,
    bytes,
    database_bytes: databaseBytes,
    seconds: Number((elapsedMs / 1000).toFixed(3)),
    users: facts.users,
    models: facts.models,
    members: facts.members,
    grants: facts.grants,
    made_directory: madeDirectory,
    complaints: made.complaints,
    deleted: made.deleted,
    not_deleted: made.stuck,
  };
}

function describe(
  { path, bytes, databaseBytes, facts, madeDirectory, deleted }: Backup,
  elapsedMs: number,
  keepMs: number | undefined,
): string {
  const rows: (readonly [string, string])[] = [
    ['backup', path],
    ['size', `${asSize(bytes)}, ${asSize(databaseBytes)} unpacked`],
    [
      'verified',
      `integrity ok, ${counted(facts.users, 'user')}, ${counted(facts.models, 'model')}, ${counted(facts.members, 'membership')}, ${counted(facts.grants, 'grant')}`,
    ],
    ['time', inSeconds(elapsedMs)],
  ];
  if (madeDirectory) rows.push(['folder', 'made, for this user alone']);
  if (keepMs !== undefined) {
    rows.push([
      'deleted',
      deleted.length === 0
        ? `nothing: no other backup is older than ${inWords(keepMs)}`
        : `${counted(deleted.length, 'backup')} older than ${inWords(keepMs)}:`,
    ]);
    rows.push(...deleted.map((old) => ['', old] as const));
  }
  return asLines(rows);
}
