/**
 * Everything that `doctor` looks at, in the order in which one thing explains the next. Nothing is written: where a check
 * cannot be done, that is its finding, and the next one follows.
 */
import { unchanged } from '../backend-file/failure.ts';
import { lockHolders } from '../backend-file/processes.ts';
import type { Operation, Patience } from '../backend-file/transaction.ts';
import { ATTEMPT_MS, waiting } from '../backend-file/transaction.ts';
import type { BackendRelease } from '../store/backend-releases.ts';
import { readBackendRelease } from '../store/backend-releases.ts';
import { noteCompanions } from '../store/companions.ts';
import type { Connection } from '../store/database.ts';
import { isBusy, openForReading } from '../store/database.ts';
import type { Schema } from '../store/schema-reader.ts';
import { readSchema } from '../store/schema-reader.ts';
import { checkBackend } from './backend.ts';
import { checkDatabaseFile, checkIntegrity } from './file.ts';
import type { Finding } from './finding.ts';
import { failed, problem, unknown } from './finding.ts';
import type { WalState } from './journal.ts';
import { checkJournalMode, checkRelease, checkWriteAheadLog, readWalState } from './journal.ts';
import type { LockTrial } from './locks.ts';
import { checkLocks, lockFinding } from './locks.ts';
import { checkIndexUse, checkStatistics } from './queries.ts';
import { checkAdmins, checkForeignRows } from './rows.ts';
import { checkTables, checkUpgrade } from './schema.ts';
import type { SettingsSeen } from './settings.ts';
import { checkSettings } from './settings.ts';

export interface Diagnosis {
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
  readonly onProgress: (label: string, done: number, total: number) => void;
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
  if (file === undefined) return [...findings, missingFile(path)];
  if (file.some(isUnusable)) return [...findings, ...file];
  const wal = readWalState(path);
  const tidyUp = noteCompanions(path);
  try {
    const inside = await look(options, wal);
    // of a file that is no database nobody should be told to change the mode
    return [...findings, ...(inside.some(isUnusable) ? file.filter(({ name }) => name === 'file') : file), ...inside];
  } finally {
    tidyUp();
  }
}

const isUnusable = ({ name, status }: Finding): boolean => name === 'file' && status === 'problem';

const missingFile = (path: string): Finding =>
  problem(
    'file',
    `There is no file at ${path}, so nothing about it was checked.`,
    'Name the webui.db of the backend with --database or DATABASE_URL; a backend that has never run must be started once.',
  );

interface Seen {
  readonly schema: Schema;
  readonly release: BackendRelease;
  readonly mode: string;
}

async function look(options: Diagnosis, wal: WalState | undefined): Promise<readonly Finding[]> {
  const { operation, quick, onProgress, walWanted } = options;
  const { path } = operation;
  const findings: Finding[] = [];
  const attempt = createAttempts(operation, findings);
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
      await attempt('locks', () => tryLocks(options));
    }
    if (seen !== undefined && !quick) {
      onProgress('reading the whole file', 0, 1);
      const onCopy = (done: number, total: number): void => onProgress('copying', done, total);
      await attempt('integrity', () => checkIntegrity(operation, seen.mode, onCopy));
    }
    return findings;
  } finally {
    connection.close();
  }
}

/** @returns undefined where nothing can be read, which is then a finding */
async function readable(attempt: Attempt, connection: Connection): Promise<Seen | undefined> {
  let seen: Seen | undefined;
  await attempt('file', () => {
    seen = {
      schema: readSchema(connection),
      release: readBackendRelease(connection),
      mode: String(connection.pragma('journal_mode', { simple: true })),
    };
    return [];
  });
  if (seen === undefined) await attempt('tables', () => unknown('tables', 'Not checked: the file cannot be read.'));
  return seen;
}

async function tryLocks({ operation, lockTrial }: Diagnosis): Promise<Finding> {
  try {
    return await checkLocks(operation.path, lockTrial, operation.patience.signal);
  } catch (error) {
    const finding = lockFinding(error);
    if (finding === undefined) throw error;
    return finding;
  }
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

/** @returns a function that runs a check, waits for locks, and keeps what it says or what it has run into */
function createAttempts({ path, patience }: Operation, findings: Finding[]): Attempt {
  let left: Patience = patience;
  return async (name, check) => {
    try {
      const found = await waiting(path, left, check);
      findings.push(...[found].flat());
    } catch (error) {
      if (patience.signal.aborted) throw unchanged('Stopped.', '', { cause: error });
      // once somebody was waited for in vain, nobody is any more
      if (isBusy(error)) left = { ...patience, longestMs: 0, say: () => undefined };
      findings.push(failed(name, error, path));
    }
  };
}
