/** `modelgate maintain`: in place of the guide's `ANALYZE` and `VACUUM` by hand. */
import type { Command } from '@commander-js/extra-typings';
import type { LockHolder } from '../../backend-file/processes.ts';
import { asSize } from '../../backend-file/text.ts';
import { type Maintenance, type MaintenanceStep, maintain as maintainFile } from '../../upkeep/maintenance.ts';
import { configureOperation } from '../configured.ts';
import { type CommandLine, type OptionsOf, onDatabase } from '../options.ts';
import { counted, inSeconds, printable } from '../format.ts';
import { asJson, asTable } from '../report.ts';
import { type Terminal, EXIT, say, tell } from '../terminal.ts';

/** Adds `maintain`. */
export function addMaintain({ program, terminal, exitWith }: CommandLine): void {
  declare(program).action(async (options) => exitWith(await maintain(options, terminal)));
}

const declare = (program: Command) =>
  onDatabase(
    program
      .command('maintain')
      .summary('refresh the statistics of the query planner and move the write-ahead log into the file')
      .description(
        'Look after the file while the backend runs: ANALYZE refreshes the statistics that the query planner goes by, and in ' +
          "WAL mode a checkpoint moves the log into the file. The journal mode stays the backend's. --vacuum also rebuilds the file " +
          'without its gaps: it needs twice the size of the file on the same disk, and no program can write until it is done.',
      )
      .option('--vacuum', 'also rebuild the file without its gaps; no program can write meanwhile'),
    'modelgate maintain --database data/webui.db',
    'modelgate maintain --vacuum',
  );

/**
 * @returns code 1 where the log could not be emptied, because another process was in the way until the end
 * @throws CommandFailure or OperationFailure
 */
async function maintain(options: OptionsOf<typeof declare>, terminal: Terminal): Promise<number> {
  const { operation } = configureOperation(options, terminal);
  const { record, holders } = await maintainFile(operation, {
    vacuum: options.vacuum === true,
    onStep: (step) => say(terminal, SENTENCES[step]),
  });
  if (options.json === true) terminal.write(asJson(record));
  else tell(terminal, describe(terminal, record));
  if (record.checkpoint?.busy !== true) return EXIT.done;
  say(terminal, describeBusy(record.checkpoint, holders));
  return EXIT.failed;
}

const SENTENCES: Record<MaintenanceStep, string> = {
  analyze: 'ANALYZE: refreshing the statistics of the query planner.',
  vacuum:
    'VACUUM: rebuilding the file without its gaps. No program can write until it is done, and a backend that waits for longer than 5 s answers errors.',
  checkpoint: 'Checkpoint: moving the write-ahead log into the file.',
};

function describeBusy(
  { log_pages, moved_pages }: NonNullable<Maintenance['checkpoint']>,
  holders: readonly LockHolder[],
): string {
  const named = holders.map(({ pid, program }) => `${printable(program)} (process ${pid})`).join(', ');
  const who = named === '' ? 'a process, perhaps in another container,' : named;
  return `The log could not be emptied: ${moved_pages.toLocaleString('en')} of its ${counted(log_pages, 'page')} are in the file, and ${who} was in the way until the end. Nothing is lost; try again at a quieter time, or wait longer with --wait 5m.`;
}

function describe(terminal: Terminal, { journal_mode: mode, before, after, ...done }: Maintenance): string {
  const sizes = [
    ['file', asSize(before.bytes), asSize(after.bytes)],
    ['gaps in it', asSize(before.free_bytes), asSize(after.free_bytes)],
    ['log (-wal)', asSize(before.wal_bytes), asSize(after.wal_bytes)],
  ];
  const table = asTable(
    terminal,
    ['size of', { title: 'before', align: 'right' }, { title: 'after', align: 'right' }],
    mode === 'wal' ? sizes : sizes.slice(0, 2),
  );
  const did = [
    'statistics refreshed',
    ...(done.vacuumed ? ['file rebuilt'] : []),
    ...(done.checkpoint === null ? [] : [done.checkpoint.busy ? 'log not emptied' : 'log emptied']),
  ];
  const hint =
    !done.vacuumed && after.free_bytes > after.bytes / 4
      ? 'More than a quarter of the file is gaps. To give them back to the disk: `modelgate maintain --vacuum`\n'
      : '';
  return `${table}\n${did.join(', ')} in ${inSeconds(done.seconds * 1000)}; journal mode ${printable(mode)}, untouched\n${hint}`;
}
