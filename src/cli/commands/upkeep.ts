/** `modelgate backup`, `restore` and `maintain`: the whole file or the policy, in place of the guide's `backup.sh`, and `ANALYZE` and `VACUUM` by hand. */
import { resolve } from 'node:path';
import { asSize } from '../../backend-file/text.ts';
import { backUpPolicy, countsOf } from '../../organizations/policy-backup.ts';
import { readPolicyFile, restorePolicy } from '../../organizations/policy-restore.ts';
import { type Backup, backUp } from '../../upkeep/backup.ts';
import { type Maintenance, type MaintenanceStep, analyze, maintain } from '../../upkeep/maintenance.ts';
import { type Restoration, prepareRestoration } from '../../upkeep/restore.ts';
import { databaseCommand, toRetention } from '../options.ts';
import { type Fact, counted, grouped, printable, tableOf, whole } from '../report.ts';
import { reportBackup, reportRestoration, rowsIn, wholeOnPostgres } from './policy-copy.ts';
import { type Terminal, misused, say, askForConsent, createProgress, requireConsent } from '../terminal.ts';

const DAY_MS = 86_400_000;

/** Ends with code 1 where the backup is good and an old one could not be deleted. */
export const addBackup = databaseCommand(
  'backup',
  `copy the database while the backend goes on writing; compressed, and verified by opening the copy
In place of the guide's backup.sh. The copy is opened, checked (integrity_check) and counted, packed into DIR/webui_YYYYmmdd_HHMMSS.db.gz (local time, as \`date\` writes it), and unpacked again to see that nothing was lost. With --keep, older files of this name are deleted after that: their age is what the name says, the new one always stays, and where anything fails nothing is deleted.
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
      ),
  async (folder, options, { operation, terminal }) => {
    if (folder === '') throw misused('Name the folder for the backups.');
    const { keep: keepMs } = options;
    using steps = createProgress(terminal);
    const directory = resolve(terminal.directory, folder);
    const { postgres } = operation;
    if (options.policy === true || postgres !== undefined) {
      return reportBackup(await backUpPolicy(operation, { directory, keepMs, now: new Date() }), directory, postgres);
    }
    const record = await backUp(operation, { directory, keepMs, now: new Date(), onStep: steps.at });
    const { deleted, not_deleted: left } = record;
    const age = keepMs === undefined ? '' : counted(keepMs / DAY_MS, 'day');
    const facts: readonly Fact[] = [
      ['backup', record.path],
      ['size', `${asSize(record.bytes)}, ${asSize(record.database_bytes)} unpacked`],
      ...factsOn(record),
      ['folder', record.made_directory ? 'made, for this user alone' : undefined],
      ['older', age !== '' && deleted.length === 0 ? `none: nothing is older than ${age}` : undefined],
      [
        'deleted',
        deleted.length > 0 ? [`${counted(deleted.length, 'backup')} older than ${age}:`, ...deleted] : undefined,
      ],
    ];
    const kept = left.map(
      ({ path, code }) => `The backup is good, but the old one ${path} could not be deleted (${code}).`,
    );
    return { record, parts: [facts], notes: [noteOnComplaints(record.complaints), ...kept], failed: left.length > 0 };
  },
);

const factsOn = (made: Pick<Backup, 'users' | 'models' | 'members' | 'grants' | 'seconds'>): readonly Fact[] => [
  [
    'verified',
    `integrity ok, ${counted(made.users, 'user')}, ${counted(made.models, 'model')}, ${counted(made.members, 'membership')}, ${counted(made.grants, 'grant')}`,
  ],
  ['time', `${made.seconds.toFixed(1)} s`],
];

/** On rows that break a rule of their table, which is no damage of the disk. */
export function noteOnComplaints(complaints: readonly string[]): string | undefined {
  const [first] = complaints;
  if (first === undefined) return undefined;
  const broken = `${counted(complaints.length, 'rule')} of a table broken by a row, such as: ${printable(first)}`;
  return `integrity_check finds no damage, but ${broken}. The row was copied as it is.`;
}

export const addRestore = databaseCommand(
  'restore',
  `put a backup in the place of the database; the backend and the gate must be stopped
A backup of the policy (backup --policy) replaces members, grants and budgets alone, in one transaction, while everything runs; what was there is kept as such a backup beside it. Otherwise the backup is unpacked beside the database and checked before anything is touched. Refuses while a process has the database open, holds a lock on it, or a backend answers at MODELGATE_UPSTREAM_URL: stop the backend and the gate first. What is replaced is kept as webui.db.replaced.YYYYmmdd_HHMMSS, with all that it holds.
$ modelgate restore /backups/mai/webui_20260131_030000.db.gz --database data/webui.db`,
  (command) =>
    command
      .argument('<file>', 'backup made by `modelgate backup`, or any copy of the database, compressed or not')
      .option('--yes', 'do it without asking'),
  async (file, options, { config, operation, terminal }) => {
    requireConsent(terminal, options);
    const backup = resolve(terminal.directory, file);
    const policy = readPolicyFile(backup);
    if (policy !== undefined) {
      await askForConsent(
        terminal,
        options,
        `Replace the whole policy of ${whole(operation.path)} by ${rowsIn(countsOf(policy))}?`,
      );
      return reportRestoration(await restorePolicy(operation, policy, { file: backup, now: new Date() }));
    }
    if (operation.postgres !== undefined) throw wholeOnPostgres(operation.postgres, backup);
    const restoration = await prepare(operation.path, backup, config.upstreamUrl, terminal);
    try {
      await askForConsent(terminal, options, question(restoration, backup));
      const record = await restoration.putInPlace();
      const facts: readonly Fact[] = [
        ['restored', record.restored],
        ['from', record.from],
        ['replaced', record.replaced === null ? 'nothing: there was no database' : `kept as ${record.replaced}`],
        ...factsOn(record),
      ];
      const parts = [facts, 'Start the backend and the gate again.'];
      return { record, parts, notes: [noteOnComplaints(record.complaints)] };
    } finally {
      restoration.discard();
    }
  },
);

async function prepare(path: string, file: string, backend: URL | undefined, terminal: Terminal) {
  using steps = createProgress(terminal);
  return await prepareRestoration({
    ...{ path, file, backend, now: new Date(), signal: terminal.stop },
    say: (sentence) => say(terminal, whole(sentence)),
    onStep: steps.at,
  });
}

function question({ target, replacedBytes, bytes, users }: Restoration, backup: string): string {
  const old = replacedBytes === undefined ? '' : ` (${asSize(replacedBytes)}, kept beside it)`;
  return `Put ${whole(backup)} (${asSize(bytes)}, ${counted(users, 'user')}) in the place of ${whole(target)}${old}?`;
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
