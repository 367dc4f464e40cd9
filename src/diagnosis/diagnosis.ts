/**
 * Everything that `doctor` looks at, in the order in which one thing explains the next. Nothing is written. A check that
 * cannot be done is a finding, and the next one follows.
 */
import { unchanged } from '../backend-file/failure.ts';
import { lockHolders } from '../backend-file/processes.ts';
import { type Operation, ATTEMPT_MS, waiting } from '../backend-file/transaction.ts';
import { readBackendRelease } from '../store/backend-releases.ts';
import { isBusy, noteCompanions, openForReading, type Connection } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';
import { checkBackend } from './backend.ts';
import { checkDatabaseFile, checkIntegrity } from './file.ts';
import { type Finding, failed, ok, problem, unknown, warning } from './finding.ts';
import { checkJournalMode, checkRelease, checkWriteAheadLog, readWalState } from './journal.ts';
import { type LockTrial, checkLocks } from './locks.ts';
import { checkIndexUse, checkStatistics } from './queries.ts';
import { checkAdmins, checkForeignRows } from './rows.ts';
import { checkTables, checkUpgrade } from './schema.ts';

interface Diagnosis {
  readonly operation: Operation;
  readonly settings: SettingsSeen;
  /** Undefined: the backend is not asked. */
  readonly upstream: URL | undefined;
  readonly secretKeys: readonly string[];
  /** `DATABASE_ENABLE_SQLITE_WAL`, where this command's environment has it. */
  readonly walWanted: boolean | undefined;
  /** Leaves out what reads the whole file. */
  readonly quick: boolean;
  readonly lockTrial: LockTrial;
  /** With a label of steps, or `copy` and bytes. */
  readonly onProgress: (label: string, done: number, total: number) => void;
}

/** What the configuration says, gathered by the command. */
interface SettingsSeen {
  /** Mistakes in the configuration, for which the gate would not start, in words. */
  readonly mistakes: readonly string[];
  /** What weakens the gate or switches it off, the gravest first. */
  readonly weaknesses: readonly { readonly sentence: string; readonly remedy: string; readonly isGrave: boolean }[];
  readonly hasSecretKey: boolean;
  readonly hasUpstream: boolean;
}

/** @throws OperationFailure after Ctrl-C */
export async function diagnose(options: Diagnosis): Promise<readonly Finding[]> {
  const { operation, settings, upstream, secretKeys, onProgress } = options;
  const { path, patience } = operation;
  const findings = [...checkSettings(settings)];
  if (upstream !== undefined) {
    onProgress('asking the backend', 0, 1);
    findings.push(...(await checkBackend({ upstream, secretKeys, signal: patience.signal })));
  }
  const file = checkDatabaseFile(path);
  if (file.some(isUnusable)) return [...findings, ...file];
  const inside = await look(options);
  // the mode of a file that is no database is not worth changing
  return [...findings, ...(inside.some(isUnusable) ? file.filter(({ name }) => name === 'file') : file), ...inside];
}

const isUnusable = ({ name, status }: Finding): boolean => name === 'file' && status === 'problem';

const SETTINGS = 'settings';

function checkSettings({ mistakes, weaknesses, hasSecretKey, hasUpstream }: SettingsSeen): readonly Finding[] {
  const found = [
    ...mistakes.map((mistake) => problem(SETTINGS, mistake, 'Correct it: the gate does not start like this.')),
    ...weaknesses.map(({ sentence, remedy, isGrave }) =>
      (isGrave ? problem : warning)(SETTINGS, `${sentence}.`, remedy),
    ),
  ];
  if (found.length === 0) found.push(ok(SETTINGS, 'Model access is enforced; nothing is switched off or weakened.'));
  const absent = [
    ...(hasUpstream ? [] : ['MODELGATE_UPSTREAM_URL']),
    ...(hasSecretKey ? [] : ['WEBUI_SECRET_KEY or WEBUI_SECRET_KEY_FILE']),
  ];
  if (absent.length > 0) {
    const unchecked = hasUpstream ? 'the secret key was' : 'the backend and its clock and the secret key were';
    const finding = `Not set for this command: ${absent.join(' and ')}; so ${unchecked} not checked.`;
    found.push(unknown(SETTINGS, finding, 'Run it with the environment of the gate, such as in its container.'));
  }
  return found;
}

async function look(options: Diagnosis): Promise<readonly Finding[]> {
  const { operation, quick, onProgress, walWanted, lockTrial } = options;
  const { path, patience } = operation;
  const findings: Finding[] = [];
  const attempt = createAttempts(operation, findings);
  const wal = readWalState(path);
  const tidyUp = noteCompanions(path);
  const connection = openForReading(path, ATTEMPT_MS);
  try {
    const seen = await readable(attempt, connection);
    if (seen !== undefined) {
      const { release, mode } = seen;
      for (const [name, check] of tableChecks(connection, seen)) await attempt(name, check);
      await attempt('journal mode', () => checkJournalMode({ mode, release, walWanted }));
      if (mode === 'wal') findings.push(checkWriteAheadLog(wal, lockHolders(path)));
    }
    // what cannot be read for another reason than a lock is nothing to take a lock on
    if (!findings.some(isUnusable)) {
      onProgress('trying the locks', 0, 1);
      await attempt('locks', () => checkLocks(path, lockTrial, patience.signal));
    }
    if (seen !== undefined && !quick) {
      onProgress('reading the whole file', 0, 1);
      const onCopy = (done: number, total: number): void => onProgress('copy', done, total);
      await attempt('integrity', () => checkIntegrity(operation, seen.mode, onCopy));
    }
    return findings;
  } finally {
    connection.close();
    tidyUp();
  }
}

const read = (connection: Connection) => ({
  schema: readSchema(connection),
  release: readBackendRelease(connection),
  mode: String(connection.pragma('journal_mode', { simple: true })),
});
type Seen = ReturnType<typeof read>;

/** @returns undefined where nothing can be read, which is then a finding */
async function readable(attempt: Attempt, connection: Connection): Promise<Seen | undefined> {
  let seen: Seen | undefined;
  await attempt('file', () => {
    seen = read(connection);
    return [];
  });
  if (seen === undefined) await attempt('tables', () => unknown('tables', 'Not checked: the file cannot be read.'));
  return seen;
}

type Check = () => Finding | readonly Finding[] | Promise<Finding | readonly Finding[]>;

function tableChecks(connection: Connection, { schema, release }: Seen): readonly (readonly [string, Check])[] {
  const always: (readonly [string, Check])[] = [['tables', () => checkTables(schema)]];
  if (!schema.backendReady) return always;
  always.push(
    ['release', () => checkRelease(release)],
    ['admins', () => checkAdmins(connection)],
    ['upgrade', () => checkUpgrade(connection, schema)],
  );
  if (schema.problem !== undefined) return always;
  return [
    ...always,
    ['index use', () => checkIndexUse(connection, schema)],
    ['statistics', () => checkStatistics(connection)],
    ['foreign rows', () => checkForeignRows(connection, schema)],
  ];
}

type Attempt = (name: string, check: Check) => Promise<void>;

/** @returns a function that runs a check, waits for locks, and keeps its findings, or its error as one */
function createAttempts({ path, patience }: Operation, findings: Finding[]): Attempt {
  let left = patience;
  return async (name, check) => {
    try {
      findings.push(...[await waiting(path, left, check)].flat());
    } catch (error) {
      if (patience.signal.aborted) throw unchanged('Stopped.', '', { cause: error });
      // after one wait in vain there is no other
      if (isBusy(error)) left = { ...patience, longestMs: 0, say: () => undefined };
      findings.push(failed(name, error, path));
    }
  };
}
