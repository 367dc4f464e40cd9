/** The guide's monthly care for the file. Nothing here sets a journal mode: that choice is the backend's. */
import { dirname } from 'node:path';
import { toFailure } from '../backend-file/failure.ts';
import type { LockHolder } from '../backend-file/processes.ts';
import { lockHolders } from '../backend-file/processes.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { ATTEMPT_MS, reading, recover, waiting } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { openForWriting } from '../store/database.ts';
import { requireSpace, sizeOf } from './files.ts';
import { runApart, runWhereItFits } from './long-statement.ts';

export type MaintenanceStep = 'analyze' | 'vacuum' | 'checkpoint';

export interface MaintenanceOptions {
  readonly vacuum: boolean;
  readonly onStep: (step: MaintenanceStep) => void;
}

export interface Maintenance {
  readonly journalMode: string;
  readonly before: FileSizes;
  readonly after: FileSizes;
  /** Undefined outside of WAL mode. */
  readonly checkpoint: Checkpoint | undefined;
}

export interface FileSizes {
  readonly bytes: number;
  /** Of them, pages that hold nothing. */
  readonly freeBytes: number;
  readonly walBytes: number;
}

export interface Checkpoint {
  /** Somebody was in the way until the end: the log keeps its size. */
  readonly busy: boolean;
  /** Pages in the log, and those of them that are in the file by now. */
  readonly logPages: number;
  readonly movedPages: number;
  /** Who was in the way, as far as it can be seen. */
  readonly holders: readonly LockHolder[];
}

/** @returns sizes before and after @throws OperationFailure where the file cannot be used, or a lock was not given back */
export async function maintain(operation: Operation, { vacuum, onStep }: MaintenanceOptions): Promise<Maintenance> {
  const { path } = operation;
  const [journalMode, before] = await measure(operation);
  // the rebuilt file is written once out of the way, and once into the journal or log
  if (vacuum) requireSpace(2 * before.bytes, dirname(path), 'VACUUM');
  try {
    onStep('analyze');
    await patiently(operation, (signal) => runWhereItFits({ path, statement: 'analyze', busyMs: ATTEMPT_MS }, signal));
    if (vacuum) {
      onStep('vacuum');
      await patiently(operation, (signal) =>
        runApart({ path, statement: 'vacuum', busyMs: VACUUM_ATTEMPT_MS }, dirname(path), signal),
      );
    }
    if (journalMode === 'wal') onStep('checkpoint');
    const checkpoint = journalMode === 'wal' ? await truncateLog(operation) : undefined;
    return { journalMode, before, after: (await measure(operation))[1], checkpoint };
  } catch (error) {
    throw toFailure(error, path);
  }
}

function measure(operation: Operation): Promise<readonly [journalMode: string, FileSizes]> {
  return reading(operation, 'backend', (connection) => {
    const figure = (name: string): number => Number(connection.pragma(name, { simple: true }));
    return [
      String(connection.pragma('journal_mode', { simple: true })),
      {
        bytes: sizeOf(operation.path),
        freeBytes: figure('freelist_count') * figure('page_size'),
        walBytes: sizeOf(`${operation.path}-wal`),
      },
    ];
  });
}

/** The end of a VACUUM must wait for readers outside of WAL mode: to give up there means to do it all again. */
const VACUUM_ATTEMPT_MS = 5_000;

/** Runs a statement that another process may run, until no lock is in its way. */
const patiently = ({ path, patience }: Operation, run: (signal: AbortSignal) => Promise<unknown>): Promise<void> =>
  waiting(path, patience, async () => {
    try {
      await run(patience.signal);
    } catch (error) {
      if (patience.signal.aborted) rollBack(path);
      throw error;
    }
  });

/** Rolls back what an ended process had begun, as the next one that opens the file would. */
function rollBack(path: string): void {
  try {
    recover(path);
  } catch {
    // another process has the file open, and rolls back itself
  }
}

/** A writer waits as long as one attempt, so that an attempt is short and a pause is long. */
const CHECKPOINT_ATTEMPT_MS = 50;
const CHECKPOINT_PAUSE_MS = 200;

interface CheckpointRow {
  readonly busy: number;
  readonly log: number;
  readonly checkpointed: number;
}

/** A checkpoint has its own word for busy, a column of its row. Its code is SQLite's, so that `waiting` waits. */
class LogInUse extends Error {
  readonly code = 'SQLITE_BUSY';
  readonly row: CheckpointRow;

  constructor(row: CheckpointRow) {
    super('The log is in use.');
    this.row = row;
  }
}

async function truncateLog({ path, patience }: Operation): Promise<Checkpoint> {
  // moves what it can without a lock that others need
  const order = { path, statement: 'checkpoint', busyMs: CHECKPOINT_ATTEMPT_MS } as const;
  const [moved] = await runWhereItFits(order, patience.signal);
  const connection = openForWriting(path, CHECKPOINT_ATTEMPT_MS);
  try {
    await waiting(path, patience, () => emptyLog(connection), {
      pauseMs: CHECKPOINT_PAUSE_MS,
      announcement: `Somebody still reads from the log of ${path}, or writes into it: waiting for a gap.`,
      stopped: 'Stopped. The write-ahead log was not emptied, and nothing in it is lost.',
    });
    const pages = Math.max(0, Number(moved));
    return { busy: false, logPages: pages, movedPages: pages, holders: [] };
  } catch (error) {
    if (!(error instanceof LogInUse)) throw error;
    const { log, checkpointed } = error.row;
    return { busy: true, logPages: log, movedPages: checkpointed, holders: lockHolders(path) };
  } finally {
    connection.close();
  }
}

function emptyLog(connection: Connection): void {
  // one row of these three columns (https://sqlite.org/pragma.html#pragma_wal_checkpoint)
  const [row] = connection.pragma('wal_checkpoint(TRUNCATE)') as CheckpointRow[];
  if (row?.busy !== 0) throw new LogInUse(row ?? { busy: 1, log: 0, checkpointed: 0 });
}
