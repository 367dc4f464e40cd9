/** `modelgate restore`: a backup of the policy, of the backend's file with the ledger beside it, or of the ledger alone. */
import { resolve } from 'node:path';
import { OperationFailure } from '../../backend-file/failure.ts';
import { asSize, shellCommand } from '../../backend-file/text.ts';
import { countsOf } from '../../organizations/policy-backup.ts';
import { readPolicyFile, restorePolicy } from '../../organizations/policy-restore.ts';
import { ledgerBeside } from '../../upkeep/backup.ts';
import {
  type LedgerRestoration,
  type Restoration,
  isOfLedger,
  prepareLedger,
  prepareRestoration,
} from '../../upkeep/restore.ts';
import { NO_LEDGER, databaseCommand, findLedger } from '../options.ts';
import { type Fact, type Report, counted, whole } from '../report.ts';
import { type Terminal, askForConsent, createProgress, misused, requireConsent, say } from '../terminal.ts';
import { reportRestoration, rowsIn, wholeOnPostgres } from './policy-copy.ts';
import { factsOn, noteOnComplaints } from './upkeep.ts';

export const addRestore = databaseCommand(
  'restore',
  `put a backup in the place of the database; the backend and the gate must be stopped
A backup of the policy (backup --policy) replaces members, grants and budgets alone, in one transaction, while everything runs; what was there is kept as such a backup beside it. Otherwise the backup is unpacked beside the database and checked before anything is touched. Refuses while a process has the database open, holds a lock on it, or a backend answers at MODELGATE_UPSTREAM_URL: stop the backend and the gate first. What is replaced is kept as webui.db.replaced.YYYYmmdd_HHMMSS, with all that it holds.
Where a backup of the ledger with the same moment in its name lies beside it, usage.db is put back too: calls since then are in no account. --no-ledger leaves usage.db as it is. A file whose name begins with usage is put in the place of usage.db alone, for which the gate must be stopped and the backend need not.
$ modelgate restore /backups/mai/webui_20260131_030000.db.gz --database data/webui.db
$ modelgate restore /backups/mai/usage_20260131_030000.db.gz`,
  (command) =>
    command
      .argument('<file>', 'backup made by `modelgate backup`, or any copy of the database, compressed or not')
      .option('--yes', 'do it without asking')
      .addOption(NO_LEDGER),
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
    const ledger = options.ledger ? findLedger(options, terminal) : undefined;
    if (isOfLedger(backup)) return await restoreLedger(ledger, backup, options, terminal);
    if (operation.postgres !== undefined) throw wholeOnPostgres(operation.postgres, backup);
    using restoration = await prepared(terminal, (common) =>
      prepareRestoration({ ...common, path: operation.path, file: backup, backend: config.upstreamUrl }),
    );
    const beside = ledgerBeside(backup);
    using besides =
      ledger === undefined || beside === undefined ? undefined : await preparedLedger(ledger, beside, terminal);
    const both = besides === undefined || beside === undefined ? '' : ` ${questionOnLedger(besides, beside)}`;
    await askForConsent(terminal, options, `${question(restoration, backup)}${both}`);
    const record = await restoration.putInPlace();
    const put = besides === undefined ? null : await afterDatabase(besides.putInPlace(), record.restored, beside);
    const facts: readonly Fact[] = [
      ...factsOn(record),
      ['ledger', put === null ? undefined : [put.restored, `from ${put.from}, ${callsIn(put)}`, keptOf(put)]],
    ];
    return reportOn({ ...record, ledger: put }, facts, 'Start the backend and the gate again.');
  },
);

async function restoreLedger(ledger: string | undefined, backup: string, options: Consent, terminal: Terminal) {
  if (ledger === undefined) throw misused(`${backup} is a backup of the ledger. ${WHERE}`);
  using restoration = await preparedLedger(ledger, backup, terminal);
  await askForConsent(terminal, options, questionOnLedger(restoration, backup));
  const record = await restoration.putInPlace();
  return reportOn(record, [['verified', callsIn(record)]], 'Start the gate again.');
}

type Consent = Parameters<typeof askForConsent>[1];
type Common = Omit<Parameters<typeof prepareLedger>[0], 'path' | 'file'>;

/** Thrown away at the end, where it has not taken its place. */
async function prepared<R extends { readonly discard: () => void }>(
  terminal: Terminal,
  prepare: (common: Common) => Promise<R>,
): Promise<R & Disposable> {
  using steps = createProgress(terminal);
  const restoration = await prepare({
    ...{ now: new Date(), signal: terminal.stop, onStep: steps.at },
    say: (sentence) => say(terminal, whole(sentence)),
  });
  return { ...restoration, [Symbol.dispose]: restoration.discard };
}

const preparedLedger = (path: string, file: string, terminal: Terminal) =>
  prepared(terminal, (common) => prepareLedger({ ...common, path, file }));

type Restored = Awaited<ReturnType<(Restoration | LedgerRestoration)['putInPlace']>>;

const WHERE = 'Say where the gate has it: MODELGATE_STATE_DIR as the gate has it, and no --no-ledger.';

const callsIn = ({ calls }: { readonly calls: number }): string => `integrity ok, ${counted(calls, 'call')}`;

const keptOf = ({ replaced }: Restored): string =>
  replaced === null ? 'nothing: there was no database' : `kept as ${replaced}`;

function reportOn(
  record: Restored & { readonly ledger?: Restored | null },
  facts: readonly Fact[],
  next: string,
): Report {
  return {
    record,
    parts: [[['restored', record.restored], ['from', record.from], ['replaced', keptOf(record)], ...facts], next],
    notes: [noteOnComplaints([...record.complaints, ...(record.ledger?.complaints ?? [])])],
  };
}

/** The database is in its place already, and stays there: what follows can be done by itself. */
async function afterDatabase<T>(putting: Promise<T>, database: string, file = ''): Promise<T> {
  try {
    return await putting;
  } catch (error) {
    if (!(error instanceof OperationFailure)) throw error;
    const why = error.message.replace(' Nothing was changed.', '');
    throw new OperationFailure(
      `${database} is restored, and the ledger is not: ${why} Then the ledger alone: \`${shellCommand('modelgate', 'restore', file)}\``,
      { code: error.code, cause: error },
    );
  }
}

const oldOf = (bytes: number | undefined): string => (bytes === undefined ? '' : ` (${asSize(bytes)}, kept beside it)`);

const question = ({ target, replacedBytes, bytes, counts }: Restoration, backup: string): string =>
  `Put ${whole(backup)} (${asSize(bytes)}, ${counted(counts.users, 'user')}) in the place of ${whole(target)}${oldOf(replacedBytes)}?`;

const questionOnLedger = ({ target, replacedBytes, bytes, counts }: LedgerRestoration, backup: string): string =>
  `Put ${whole(backup)} (${asSize(bytes)}, ${counted(counts.calls, 'call')}) in the place of ${whole(target)}${oldOf(replacedBytes)}?`;
