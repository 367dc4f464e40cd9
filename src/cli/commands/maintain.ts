/** `modelgate maintain`: in place of the guide's `ANALYZE` and `VACUUM` by hand. */
import { asSize } from '../../backend-file/text.ts';
import type { Maintenance, MaintenanceStep } from '../../upkeep/maintenance.ts';
import { maintain as maintainFile } from '../../upkeep/maintenance.ts';
import { configureOperation } from '../configured.ts';
import type { DatabaseOptions } from '../options.ts';
import { counted, inSeconds, printable, toSeconds } from '../format.ts';
import { asJson, asTable } from '../report.ts';
import type { Terminal } from '../terminal.ts';
import { EXIT, say, tell } from '../terminal.ts';

export interface MaintainOptions extends DatabaseOptions {
  readonly vacuum?: boolean;
}

/**
 * @returns code 1 where the log could not be emptied, because somebody was in the way until the end
 * @throws CommandFailure or OperationFailure
 */
export async function maintain(options: MaintainOptions, terminal: Terminal): Promise<number> {
  const { operation } = configureOperation(options, terminal);
  const started = performance.now();
  const done = await maintainFile(operation, {
    vacuum: options.vacuum === true,
    onStep: (step) => say(terminal, SENTENCES[step]),
  });
  const elapsedMs = performance.now() - started;
  if (options.json === true) terminal.write(asJson(toJson(done, options, elapsedMs)));
  else tell(terminal, describe(terminal, done, options, elapsedMs));
  if (done.checkpoint?.busy !== true) return EXIT.done;
  say(terminal, describeBusy(done.checkpoint));
  return EXIT.failed;
}

const SENTENCES: Record<MaintenanceStep, string> = {
  analyze: 'ANALYZE: refreshing the statistics of the query planner.',
  vacuum:
    'VACUUM: rebuilding the file without its gaps. Nobody can write until it is done, and a backend that waits for longer than 5 s answers errors.',
  checkpoint: 'Checkpoint: moving the write-ahead log into the file.',
};

function describeBusy({ logPages, movedPages, holders }: NonNullable<Maintenance['checkpoint']>): string {
  const who = holders.map(({ pid, program }) => `${printable(program)} (process ${pid})`).join(', ');
  return `The log could not be emptied: ${movedPages.toLocaleString('en')} of its ${counted(logPages, 'page')} are in the file, and ${who === '' ? 'somebody, perhaps in another container,' : who} was in the way until the end. Nothing is lost; try again at a quieter time, or wait longer with --wait 5m.`;
}

function describe(
  terminal: Terminal,
  { journalMode, before, after, checkpoint }: Maintenance,
  { vacuum = false }: MaintainOptions,
  elapsedMs: number,
): string {
  const sizes = [
    ['file', asSize(before.bytes), asSize(after.bytes)],
    ['gaps in it', asSize(before.freeBytes), asSize(after.freeBytes)],
    ['log (-wal)', asSize(before.walBytes), asSize(after.walBytes)],
  ];
  const table = asTable(
    terminal,
    ['size of', { title: 'before', align: 'right' }, { title: 'after', align: 'right' }],
    journalMode === 'wal' ? sizes : sizes.slice(0, 2),
  );
  const did = [
    'statistics refreshed',
    ...(vacuum ? ['file rebuilt'] : []),
    ...(checkpoint === undefined ? [] : [checkpoint.busy ? 'log not emptied' : 'log emptied']),
  ];
  const hint =
    !vacuum && after.freeBytes > after.bytes / 4
      ? 'More than a quarter of the file is gaps. To give them back to the disk: `modelgate maintain --vacuum`\n'
      : '';
  return `${table}\n${did.join(', ')} in ${inSeconds(elapsedMs)}; journal mode ${printable(journalMode)}, untouched\n${hint}`;
}

function toJson(
  { journalMode, before, after, checkpoint }: Maintenance,
  { vacuum = false }: MaintainOptions,
  elapsedMs: number,
): unknown {
  const sizes = ({ bytes, freeBytes, walBytes }: Maintenance['before']): unknown => ({
    bytes,
    free_bytes: freeBytes,
    wal_bytes: walBytes,
  });
  return {
    journal_mode: journalMode,
    before: sizes(before),
    after: sizes(after),
    analyzed: true,
    vacuumed: vacuum,
    checkpoint:
      checkpoint === undefined
        ? null
        : { busy: checkpoint.busy, log_pages: checkpoint.logPages, moved_pages: checkpoint.movedPages },
    seconds: toSeconds(elapsedMs),
  };
}
