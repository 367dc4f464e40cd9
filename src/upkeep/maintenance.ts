/** The guide's monthly care for the file. Nothing here sets a journal mode: that choice is the backend's. */
import { dirname } from 'node:path';
import { OperationFailure, toFailure } from '../backend-file/failure.ts';
import { lockHolders } from '../backend-file/processes.ts';
import { secondsSince } from '../backend-file/text.ts';
import { type Operation, ATTEMPT_MS, closing, reading, recover, waiting } from '../backend-file/transaction.ts';
import { isBusy, openForWriting } from '../store/database.ts';
import { requireSpace, sizeOf } from './files.ts';
import { runApart, runWhereItFits } from './long-statement.ts';

export type MaintenanceStep = 'analyze' | 'vacuum' | 'checkpoint';

/** The end of a VACUUM must wait for readers outside of WAL mode: to give up there means to do it all again. */
const VACUUM_ATTEMPT_MS = 5_000;

/** A writer waits as long as one attempt, so that an attempt is short and a pause is long. */
const CHECKPOINT_ATTEMPT_MS = 50;
const CHECKPOINT_PAUSE_MS = 200;

/** @returns sizes before and after, for `--json`, and the processes that kept the log from being emptied, as far as seen */
export async function maintain(
  operation: Operation,
  { vacuum, onStep }: { readonly vacuum: boolean; readonly onStep: (step: MaintenanceStep) => void },
) {
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
      const order = { path, statement: 'vacuum', busyMs: VACUUM_ATTEMPT_MS } as const;
      await patiently(operation, (signal) => runApart(order, signal));
    }
    if (mode === 'wal') onStep('checkpoint');
    const checkpoint = mode === 'wal' ? await truncateLog(operation) : null;
    const holders = checkpoint?.busy === true ? lockHolders(path) : [];
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

const patiently = ({ path, patience }: Operation, run: (signal: AbortSignal) => Promise<unknown>): Promise<void> =>
  waiting(path, patience, async () => {
    try {
      await run(patience.signal);
    } catch (error) {
      if (patience.signal.aborted) {
        try {
          recover(path);
        } catch {
          // another process has the file open, and rolls back itself
        }
      }
      throw error;
    }
  });

/** Where another process is in the way until the end, the log keeps its size. */
async function truncateLog({ path, patience }: Operation) {
  // moves what it can without a lock that others need
  const order = { path, statement: 'checkpoint', busyMs: CHECKPOINT_ATTEMPT_MS } as const;
  const [moved] = await runWhereItFits(order, patience.signal);
  using connection = closing(openForWriting(path, CHECKPOINT_ATTEMPT_MS));
  let left = { busy: 0, log: 0, checkpointed: 0 };
  const empty = (): void => {
    // one row of these columns (https://sqlite.org/pragma.html#pragma_wal_checkpoint)
    [left = left] = connection.pragma('wal_checkpoint(TRUNCATE)') as (typeof left)[];
    if (left.busy !== 0) throw Object.assign(new Error('The log is in use.'), { code: 'SQLITE_BUSY' });
  };
  try {
    await waiting(path, patience, empty, {
      pauseMs: CHECKPOINT_PAUSE_MS,
      announcement: `A process still reads from the log of ${path}, or writes into it: waiting for a gap.`,
    });
    const pages = Math.max(0, Number(moved));
    return { busy: false, log_pages: pages, moved_pages: pages };
  } catch (error) {
    if (patience.signal.aborted)
      throw new OperationFailure('Stopped. The write-ahead log was not emptied, and nothing in it is lost.');
    if (!isBusy(error) || left.busy === 0) throw error;
    return { busy: true, log_pages: left.log, moved_pages: left.checkpointed };
  }
}
