/** `modelgate backup`, `restore` and `maintain`: the whole file, in place of the guide's `backup.sh`, and `ANALYZE` and `VACUUM` by hand. */
import type { Command } from '@commander-js/extra-typings';
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import { type Backup, backUp } from '../../upkeep/backup.ts';
import { type Maintenance, type MaintenanceStep, maintain } from '../../upkeep/maintenance.ts';
import { type Restoration, prepareRestoration } from '../../upkeep/restore.ts';
import { commandOf, configureOperation, onDatabase, requireStoreConfig, toRetention } from '../options.ts';
import { askYesNo, createStepProgress, declined, requireConsent } from '../prompt.ts';
import { asDuration, asLines, counted, inSeconds, print, printable } from '../report.ts';
import { EXIT, say, misused } from '../terminal.ts';

const declareBackup = (program: Command) =>
  onDatabase(
    program
      .command('backup')
      .summary('copy the database while the backend goes on writing; compressed, and verified by opening the copy')
      .description(
        "Copy the database while the backend goes on writing, in place of the guide's backup.sh. The copy is opened, checked (integrity_check) and counted, packed into DIR/webui_YYYYmmdd_HHMMSS.db.gz (local time, as `date` writes it), and unpacked again to see that nothing was lost. With --keep, older files of this name are deleted after that: their age is what the name says, the new one always stays, and where anything fails nothing is deleted.",
      )
      .argument('<dir>', 'folder for backups; made where it is missing')
      .option(
        '--keep <time>',
        'afterwards delete backups of this folder that are older, such as 30d; at least 1d',
        toRetention,
      ),
    'modelgate backup /backups/mai --keep 30d --database data/webui.db',
  );

/** Ends with code 1 where the backup is good and an old one could not be deleted. */
export const addBackup = commandOf(declareBackup, async (directory, options, terminal) => {
  if (directory === '') throw misused('Name the folder for the backups.');
  const { operation } = configureOperation(options, terminal);
  const steps = createStepProgress(terminal);
  const made = await backUp(operation, {
    directory: resolve(terminal.directory, directory),
    keepMs: options.keep,
    now: new Date(),
    onStep: steps.onStep,
  }).finally(steps.end);
  const left = made.not_deleted.map(
    ({ path, code }) => `The backup is good, but the old one ${path} could not be deleted (${code}).`,
  );
  return print(terminal, options, {
    record: made,
    parts: [describeBackup(made, options.keep)],
    notes: [noteOnComplaints(made.complaints), ...left],
    code: left.length > 0 ? EXIT.failed : EXIT.done,
  });
});

function describeBackup(made: Backup, keepMs: number | undefined): string {
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

const describeFacts = ({ users, models, members, grants }: Counts): string =>
  `integrity ok, ${counted(users, 'user')}, ${counted(models, 'model')}, ${counted(members, 'membership')}, ${counted(grants, 'grant')}`;

/** On rows that break a rule of their table, which is no damage of the disk. */
export function noteOnComplaints(complaints: readonly string[]): string | undefined {
  const [first] = complaints;
  if (first === undefined) return undefined;
  const broken = `${counted(complaints.length, 'rule')} of a table broken by a row, such as: ${printable(first)}`;
  return `integrity_check finds no damage, but ${broken}. The row was copied as it is.`;
}

const declareRestore = (program: Command) =>
  onDatabase(
    program
      .command('restore')
      .summary('put a backup in the place of the database; the backend and the gate must be stopped')
      .description(
        'Put a backup in the place of the database. The backup is unpacked beside it and checked before anything is touched. Refuses while a process has the database open, holds a lock on it, or a backend answers at MODELGATE_UPSTREAM_URL: stop the backend and the gate first. What is replaced is kept as webui.db.replaced.YYYYmmdd_HHMMSS, with all that it holds.',
      )
      .argument('<file>', 'backup made by `modelgate backup`, or any copy of the database, compressed or not')
      .option('--yes', 'do it without asking'),
    'modelgate restore /backups/mai/webui_20260131_030000.db.gz --database data/webui.db',
  );

export const addRestore = commandOf(declareRestore, async (file, options, terminal) => {
  const config = requireStoreConfig(terminal, options);
  requireConsent(terminal, options);
  const steps = createStepProgress(terminal);
  const backup = resolve(terminal.directory, file);
  const restoration = await prepareRestoration({
    path: config.database.path,
    file: backup,
    backend: config.upstreamUrl,
    now: new Date(),
    signal: terminal.stop,
    say: (sentence) => say(terminal, printable(sentence, false)),
    onStep: steps.onStep,
  }).finally(steps.end);
  try {
    if (options.yes !== true && !(await askYesNo(terminal, question(restoration, backup)))) throw declined();
    const done = await restoration.putInPlace();
    const parts = [describeRestoration(done), 'Start the backend and the gate again.'];
    return print(terminal, options, { record: done, parts, notes: [noteOnComplaints(done.complaints)] });
  } finally {
    restoration.discard();
  }
});

function question({ target, replacedBytes, bytes, users }: Restoration, backup: string): string {
  const old = replacedBytes === undefined ? '' : ` (${asSize(replacedBytes)}, kept beside it)`;
  return `Put ${printable(backup, false)} (${asSize(bytes)}, ${counted(users, 'user')}) in the place of ${printable(target, false)}${old}?`;
}

const describeRestoration = (done: Awaited<ReturnType<Restoration['putInPlace']>>): string =>
  asLines([
    ['restored', done.restored],
    ['from', done.from],
    ['verified', describeFacts(done)],
    ['replaced', done.replaced === null ? 'nothing: there was no database' : `kept as ${done.replaced}`],
    ['time', inSeconds(done.seconds * 1000)],
  ]);

const declareMaintain = (program: Command) =>
  onDatabase(
    program
      .command('maintain')
      .summary('refresh the statistics of the query planner and move the write-ahead log into the file')
      .description(
        "Look after the file while the backend runs: ANALYZE refreshes the statistics that the query planner goes by, and in WAL mode a checkpoint moves the log into the file. The journal mode stays the backend's. --vacuum also rebuilds the file without its gaps: it needs twice the size of the file on the same disk, and no program can write until it is done.",
      )
      .option('--vacuum', 'also rebuild the file without its gaps; no program can write meanwhile'),
    'modelgate maintain --database data/webui.db',
    'modelgate maintain --vacuum',
  );

const SENTENCES: Record<MaintenanceStep, string> = {
  analyze: 'ANALYZE: refreshing the statistics of the query planner.',
  vacuum:
    'VACUUM: rebuilding the file without its gaps. No program can write until it is done, and a backend that waits for longer than 5 s answers errors.',
  checkpoint: 'Checkpoint: moving the write-ahead log into the file.',
};

/** Ends with code 1 where the log could not be emptied, because another process was in the way. */
export const addMaintain = commandOf(declareMaintain, async (options, terminal) => {
  const { operation } = configureOperation(options, terminal);
  const { record, holders } = await maintain(operation, {
    vacuum: options.vacuum === true,
    onStep: (step) => say(terminal, SENTENCES[step]),
  });
  const { checkpoint } = record;
  const named = holders.map(({ pid, program: name }) => `${printable(name)} (process ${pid})`).join(', ');
  return print(terminal, options, {
    record,
    parts: partsOn(record),
    notes: [
      checkpoint?.busy === true &&
        `The log could not be emptied: ${checkpoint.moved_pages.toLocaleString('en')} of its ${counted(checkpoint.log_pages, 'page')} are in the file, and ${named || 'a process, perhaps in another container,'} was in the way until the end. Nothing is lost; try again at a quieter time, or wait longer with --wait 5m.`,
    ],
    code: checkpoint?.busy === true ? EXIT.failed : EXIT.done,
  });
});

function partsOn({ journal_mode: mode, before, after, ...done }: Maintenance) {
  const row = (name: string, what: keyof Maintenance['before']) => [name, asSize(before[what]), asSize(after[what])];
  const sizes = [row('file', 'bytes'), row('gaps in it', 'free_bytes'), row('log (-wal)', 'wal_bytes')];
  const right = (title: string) => ({ title, align: 'right' }) as const;
  const columns = ['size of', right('before'), right('after')];
  const did = [
    'statistics refreshed',
    ...(done.vacuumed ? ['file rebuilt'] : []),
    ...(done.checkpoint === null ? [] : [done.checkpoint.busy ? 'log not emptied' : 'log emptied']),
  ];
  const isLoose = !done.vacuumed && after.free_bytes > after.bytes / 4;
  const hint = 'More than a quarter of the file is gaps. To give them back to the disk: `modelgate maintain --vacuum`';
  const said = `${did.join(', ')} in ${inSeconds(done.seconds * 1000)}; journal mode ${printable(mode)}, untouched`;
  return [{ columns, rows: mode === 'wal' ? sizes : sizes.slice(0, 2) }, [said, ...(isLoose ? [hint] : [])].join('\n')];
}
