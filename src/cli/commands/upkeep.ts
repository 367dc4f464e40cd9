/** `modelgate backup` and `maintain`: the whole file or the policy, in place of the guide's `backup.sh`, and `ANALYZE` and `VACUUM` by hand. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import { backUpPolicy } from '../../organizations/policy-backup.ts';
import { type Backup, backUp } from '../../upkeep/backup.ts';
import { type Maintenance, type MaintenanceStep, analyze, maintain } from '../../upkeep/maintenance.ts';
import { isOfLedger } from '../../upkeep/restore.ts';
import { NO_LEDGER, databaseCommand, findLedger, toRetention } from '../options.ts';
import { type Fact, counted, grouped, printable, tableOf } from '../report.ts';
import { reportBackup } from './policy-copy.ts';
import { createProgress, misused, say } from '../terminal.ts';

const DAY_MS = 86_400_000;

/** Ends with code 1 where the backup is good and an old one could not be deleted. */
export const addBackup = databaseCommand(
  'backup',
  `copy the database while the backend goes on writing; compressed, and verified by opening the copy
In place of the guide's backup.sh. The copy is opened, checked (integrity_check) and counted, packed into DIR/webui_YYYYmmdd_HHMMSS.db.gz (local time, as \`date\` writes it), and unpacked again to see that nothing was lost. With --keep, older files of this name are deleted after that: their age is what the name says, the new one always stays, and where anything fails nothing is deleted.
The ledger of the provider door (usage.db), where there is one, is copied in the same way: DIR/usage_YYYYmmdd_HHMMSS.db.gz, with the same moment in its name, goes and stays with the first one.
With --policy, and always on PostgreSQL: the rows of members, grants and budgets alone, as DIR/policy_YYYYmmdd_HHMMSS.json.gz, which modelgate restore puts into either engine; so policy moves from SQLite to PostgreSQL. The line for pg_dump, which copies a whole database of PostgreSQL, is printed.
$ modelgate backup /backups/mai --keep 30d --database data/webui.db`,
  (command) =>
    command
      .argument('<dir>', 'folder for backups; made where it is missing')
      .option('--policy', 'members, grants and budgets alone, for either engine; always so on PostgreSQL')
      .option(
        '--keep <time>',
        'afterwards delete backups of this folder that are older, such as 30d; at least 1d',
        toRetention,
      )
      .addOption(NO_LEDGER),
  async (folder, options, { operation, terminal }) => {
    if (folder === '') throw misused('Name the folder for the backups.');
    const { keep: keepMs } = options;
    using steps = createProgress(terminal);
    const directory = resolve(terminal.directory, folder);
    const { postgres } = operation;
    if (options.policy === true || postgres !== undefined) {
      return reportBackup(await backUpPolicy(operation, { directory, keepMs, now: new Date() }), directory, postgres);
    }
    const found = options.ledger ? findLedger(options, terminal) : undefined;
    const ledger = found !== undefined && existsSync(found) ? found : undefined;
    const record = await backUp(operation, { directory, keepMs, now: new Date(), onStep: steps.at, ledger });
    const { deleted, not_deleted: left } = record;
    const age = keepMs === undefined ? '' : counted(keepMs / DAY_MS, 'day');
    const facts: readonly Fact[] = [
      ['backup', record.path],
      ['size', `${asSize(record.bytes)}, ${asSize(record.database_bytes)} unpacked`],
      ...factsOn(record),
      ...factsOnLedger(record.ledger),
      ['folder', record.made_directory ? 'made, for this user alone' : undefined],
      ['older', age !== '' && deleted.length === 0 ? `none: nothing is older than ${age}` : undefined],
      [
        'deleted',
        deleted.length > 0
          ? [`${counted(deleted.filter((path) => !isOfLedger(path)).length, 'backup')} older than ${age}:`, ...deleted]
          : undefined,
      ],
    ];
    const kept = left.map(
      ({ path, code }) => `The backup is good, but the old one ${path} could not be deleted (${code}).`,
    );
    const broken = [...record.complaints, ...(record.ledger?.complaints ?? [])];
    return { record, parts: [facts], notes: [noteOnComplaints(broken), ...kept], failed: left.length > 0 };
  },
);

export const factsOn = (made: Pick<Backup, 'users' | 'models' | 'members' | 'grants' | 'seconds'>): readonly Fact[] => [
  [
    'verified',
    `integrity ok, ${counted(made.users, 'user')}, ${counted(made.models, 'model')}, ${counted(made.members, 'membership')}, ${counted(made.grants, 'grant')}`,
  ],
  ['time', `${made.seconds.toFixed(1)} s`],
];

const factsOnLedger = (made: Backup['ledger']): readonly Fact[] =>
  made === null
    ? []
    : [
        [
          'ledger',
          [made.path, `${asSize(made.bytes)}, ${asSize(made.database_bytes)} unpacked, ${counted(made.calls, 'call')}`],
        ],
      ];

/** On rows that break a rule of their table, which is no damage of the disk. */
export function noteOnComplaints(complaints: readonly string[]): string | undefined {
  const [first] = complaints;
  if (first === undefined) return undefined;
  const broken = `${counted(complaints.length, 'rule')} of a table broken by a row, such as: ${printable(first)}`;
  return `integrity_check finds no damage, but ${broken}. The row was copied as it is.`;
}

const SENTENCES: Record<MaintenanceStep, string> = {
  analyze: 'ANALYZE: refreshing the statistics of the query planner.',
  vacuum:
    'VACUUM: rebuilding the file without its gaps. No program can write until it is done, and a backend that waits for longer than 5 s answers errors.',
  checkpoint: 'Checkpoint: moving the write-ahead log into the file.',
};

/** Ends with code 1 where the log could not be emptied, because another process was in the way. */
export const addMaintain = databaseCommand(
  'maintain',
  `refresh the statistics of the query planner and move the write-ahead log into the file
Works while the backend runs: ANALYZE refreshes the statistics, and in WAL mode a checkpoint moves the log. The journal mode stays the backend's. On PostgreSQL it is ANALYZE of modelgate's own tables. --vacuum also rebuilds the file without its gaps: it needs twice the size of the file on the same disk, and no program can write until it is done.
$ modelgate maintain --database data/webui.db
$ modelgate maintain --vacuum`,
  (command) => command.option('--vacuum', 'also rebuild the file without its gaps; no program can write meanwhile'),
  async ({ vacuum = false }, { operation, terminal }) => {
    if (operation.postgres !== undefined) {
      if (vacuum) throw misused('On PostgreSQL autovacuum gives space back: --vacuum is for SQLite.');
      const record = await analyze(operation);
      return {
        record,
        parts: [tableOf(record.tables, { table: 'name', rows: 'rows', size: ({ bytes }) => asSize(bytes) })],
      };
    }
    const onStep = (step: MaintenanceStep): void => say(terminal, SENTENCES[step]);
    const { record, holders } = await maintain(operation, { vacuum, onStep });
    const { checkpoint } = record;
    const named = holders.map(({ pid, program: name }) => `${printable(name)} (process ${pid})`).join(', ');
    return {
      record,
      parts: partsOn(record),
      notes: [
        checkpoint?.busy === true &&
          `The log could not be emptied: ${grouped(checkpoint.moved_pages)} of its ${counted(checkpoint.log_pages, 'page')} are in the file, and ${named || 'a process, perhaps in another container,'} was in the way until the end. Nothing is lost; try again at a quieter time, or wait longer with --wait 5m.`,
      ],
      failed: checkpoint?.busy === true,
    };
  },
);

const SIZES = { bytes: 'file', free_bytes: 'gaps in it', wal_bytes: 'log (-wal)' } as const;

function partsOn({ journal_mode: mode, before, after, vacuumed, checkpoint, seconds }: Maintenance) {
  const sizes = (['bytes', 'free_bytes', 'wal_bytes'] as const).filter(
    (what) => what !== 'wal_bytes' || mode === 'wal',
  );
  const table = tableOf(
    sizes.map((what) => ({ what })),
    {
      'size of': ({ what }) => SIZES[what],
      before: ({ what }) => asSize(before[what]),
      after: ({ what }) => asSize(after[what]),
    },
  );
  const did = [
    'statistics refreshed',
    ...(vacuumed ? ['file rebuilt'] : []),
    ...(checkpoint === null ? [] : [checkpoint.busy ? 'log not emptied' : 'log emptied']),
  ];
  const isLoose = !vacuumed && after.free_bytes > after.bytes / 4;
  const hint = 'More than a quarter of the file is gaps. To give them back to the disk: `modelgate maintain --vacuum`';
  const said = `${did.join(', ')} in ${seconds.toFixed(1)} s; journal mode ${printable(mode)}, untouched`;
  return [table, isLoose ? `${said}\n${hint}` : said];
}
