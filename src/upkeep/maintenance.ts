/** The guide's monthly care for the file. Nothing here sets a journal mode: that choice is the backend's. */
import { dirname } from 'node:path';
import { toFailure } from '../backend-file/failure.ts';
import { type LockHolder, lockHolders } from '../backend-file/processes.ts';
import { secondsSince } from '../backend-file/text.ts';
import { type Operation, ATTEMPT_MS, reading, recover, waiting } from '../backend-file/transaction.ts';
import { type Connection, openForWriting } from '../store/database.ts';
import { requireSpace, sizeOf } from './files.ts';
import { runApart, runWhereItFits } from './long-statement.ts';

export type MaintenanceStep = 'analyze' | 'vacuum' | 'checkpoint';

interface MaintenanceOptions {
  readonly vacuum: boolean;
  readonly onStep: (step: MaintenanceStep) => void;
}

/**
 * @returns sizes before and after, for `--json`, and the processes that kept the log from being emptied
 * @throws OperationFailure where the file cannot be used, or a lock was not given back
 */
export async function maintain(operation: Operation, { vacuum, onStep }: MaintenanceOptions) {
  const started = performance.now();
  const { path } = operation;
  const { mode, sizes: before } = await measure(operation);
  // the rebuilt file is written once out of the way, and once into the journal or log
  if (vacuum) requireSpace(2 * before.bytes, dirname(path), 'VACUUM');
  try {
    onStep('analyze');
    await patiently(operation, (signal) => runWhereItFits({ path, statement: 'analyze', busyMs: ATTEMPT_MS }, signal));
    if (vacuum) {
      onStep('vacuum');
      await patiently(operation, (signal) =>
        runApart({ path, statement: 'vacuum', busyMs: VACUUM_ATTEMPT_MS }, signal),
      );
    }
    if (mode === 'wal') onStep('checkpoint');
    const { checkpoint, holders } = mode === 'wal' ? await truncateLog(operation) : { checkpoint: null, holders: [] };
    const { sizes: after } = await measure(operation);
    const record = { journal_mode: mode, before, after, analyzed: true, vacuumed: vacuum, checkpoint };
    return { record: { ...record, seconds: secondsSince(started) }, holders };
  } catch (error) {
    throw toFailure(error, path);
  }
}

export type Maintenance = Awaited<ReturnType<typeof maintain>>['record'];

const measure = (operation: Operation) =>
  reading(operation, 'backend', (connection) => {
    const figure = (name: string): number => Number(connection.pragma(name, { simple: true }));
    return {
      mode: String(connection.pragma('journal_mode', { simple: true })),
      sizes: {
        bytes: sizeOf(operation.path),
        free_bytes: figure('freelist_count') * figure('page_size'),
        wal_bytes: sizeOf(`${operation.path}-wal`),
      },
    };
  });

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
  /** Pages in the log, and those of them that are in the file by now. */
  readonly log: number;
  readonly checkpointed: number;
}

/** A checkpoint reports busy as a column of its row. The code is SQLite's, so that `waiting` waits. */
class LogInUse extends Error {
  readonly code = 'SQLITE_BUSY';
  readonly row: CheckpointRow;

  constructor(row: CheckpointRow) {
    super('The log is in use.');
    this.row = row;
  }
}

interface Truncation {
  readonly checkpoint: { readonly busy: boolean; readonly log_pages: number; readonly moved_pages: number };
  /** Processes in the way, as far as they can be seen. */
  readonly holders: readonly LockHolder[];
}

/** Where another process is in the way until the end, the log keeps its size. */
async function truncateLog({ path, patience }: Operation): Promise<Truncation> {
  // moves what it can without a lock that others need
  const order = { path, statement: 'checkpoint', busyMs: CHECKPOINT_ATTEMPT_MS } as const;
  const [moved] = await runWhereItFits(order, patience.signal);
  const connection = openForWriting(path, CHECKPOINT_ATTEMPT_MS);
  try {
    await waiting(path, patience, () => emptyLog(connection), {
      pauseMs: CHECKPOINT_PAUSE_MS,
      announcement: `A process still reads from the log of ${path}, or writes into it: waiting for a gap.`,
      stopped: 'Stopped. The write-ahead log was not emptied, and nothing in it is lost.',
    });
    const pages = Math.max(0, Number(moved));
    return { checkpoint: { busy: false, log_pages: pages, moved_pages: pages }, holders: [] };
  } catch (error) {
    if (!(error instanceof LogInUse)) throw error;
    const { log, checkpointed } = error.row;
    return { checkpoint: { busy: true, log_pages: log, moved_pages: checkpointed }, holders: lockHolders(path) };
  } finally {
    connection.close();
  }
}

function emptyLog(connection: Connection): void {
  // one row of these three columns (https://sqlite.org/pragma.html#pragma_wal_checkpoint)
  const [row] = connection.pragma('wal_checkpoint(TRUNCATE)') as CheckpointRow[];
  if (row?.busy !== 0) throw new LogInUse(row ?? { busy: 1, log: 0, checkpointed: 0 });
}
