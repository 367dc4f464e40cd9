/** `modelgate maintain`: in place of the guide's `ANALYZE` and `VACUUM` by hand. */
import { asSize } from '../../backend-file/text.ts';
import { type Maintenance, type MaintenanceStep, maintain } from '../../upkeep/maintenance.ts';
import { configureOperation } from '../configured.ts';
import { type CommandLine, onDatabase } from '../options.ts';
import { asJson, asTable, counted, inSeconds, printable } from '../report.ts';
import { type Terminal, EXIT, say, tell } from '../terminal.ts';

const DESCRIPTION =
  'Look after the file while the backend runs: ANALYZE refreshes the statistics that the query planner goes by, and in ' +
  "WAL mode a checkpoint moves the log into the file. The journal mode stays the backend's. --vacuum also rebuilds the file " +
  'without its gaps: it needs twice the size of the file on the same disk, and no program can write until it is done.';

const SENTENCES: Record<MaintenanceStep, string> = {
  analyze: 'ANALYZE: refreshing the statistics of the query planner.',
  vacuum:
    'VACUUM: rebuilding the file without its gaps. No program can write until it is done, and a backend that waits for longer than 5 s answers errors.',
  checkpoint: 'Checkpoint: moving the write-ahead log into the file.',
};

/** Adds `maintain`, which ends with code 1 where the log could not be emptied, because another process was in the way. */
export function addMaintain({ program, terminal, exitWith }: CommandLine): void {
  const command = program
    .command('maintain')
    .summary('refresh the statistics of the query planner and move the write-ahead log into the file')
    .description(DESCRIPTION)
    .option('--vacuum', 'also rebuild the file without its gaps; no program can write meanwhile');
  const examples = ['modelgate maintain --database data/webui.db', 'modelgate maintain --vacuum'];
  onDatabase(command, ...examples).action(async (options) => {
    const { operation } = configureOperation(options, terminal);
    const { record, holders } = await maintain(operation, {
      vacuum: options.vacuum === true,
      onStep: (step) => say(terminal, SENTENCES[step]),
    });
    if (options.json === true) terminal.write(asJson(record));
    else tell(terminal, describe(terminal, record));
    if (record.checkpoint?.busy !== true) return exitWith(EXIT.done);
    const { log_pages: pages, moved_pages: moved } = record.checkpoint;
    const named = holders.map(({ pid, program: name }) => `${printable(name)} (process ${pid})`).join(', ');
    say(
      terminal,
      `The log could not be emptied: ${moved.toLocaleString('en')} of its ${counted(pages, 'page')} are in the file, and ${named || 'a process, perhaps in another container,'} was in the way until the end. Nothing is lost; try again at a quieter time, or wait longer with --wait 5m.`,
    );
    exitWith(EXIT.failed);
  });
}

function describe(terminal: Terminal, { journal_mode: mode, before, after, ...done }: Maintenance): string {
  const row = (name: string, what: keyof Maintenance['before']) => [name, asSize(before[what]), asSize(after[what])];
  const sizes = [row('file', 'bytes'), row('gaps in it', 'free_bytes'), row('log (-wal)', 'wal_bytes')];
  const right = (title: string) => ({ title, align: 'right' }) as const;
  const columns = ['size of', right('before'), right('after')];
  const did = [
    'statistics refreshed',
    ...(done.vacuumed ? ['file rebuilt'] : []),
    ...(done.checkpoint === null ? [] : [done.checkpoint.busy ? 'log not emptied' : 'log emptied']),
  ];
  const hint =
    !done.vacuumed && after.free_bytes > after.bytes / 4
      ? 'More than a quarter of the file is gaps. To give them back to the disk: `modelgate maintain --vacuum`\n'
      : '';
  const table = asTable(terminal, columns, mode === 'wal' ? sizes : sizes.slice(0, 2));
  return `${table}\n${did.join(', ')} in ${inSeconds(done.seconds * 1000)}; journal mode ${printable(mode)}, untouched\n${hint}`;
}
