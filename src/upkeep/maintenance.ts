/** The guide's monthly care for the file, and statements that take long. No journal mode is set: that choice is the backend's. */
import { fork } from 'node:child_process';
import { addAbortListener, once } from 'node:events';
import { dirname } from 'node:path';
import { OperationFailure, toFailure, unchanged } from '../backend-file/failure.ts';
import { lockHolders } from '../backend-file/processes.ts';
import { secondsSince } from '../backend-file/text.ts';
import {
  type Operation,
  ATTEMPT_MS,
  changing,
  closing,
  hearStop,
  reading,
  recover,
  waiting,
} from '../backend-file/transaction.ts';
import { failureCode, isBusy, isFile, openForReading, openForWriting } from '../store/database.ts';
import { identifier } from '../store/postgres/failure.ts';
import { requireSpace, sizeOf } from './files.ts';

export type MaintenanceStep = 'analyze' | 'vacuum' | 'checkpoint';

/** A writer waits as long as one attempt, so that an attempt is short and a pause is long. */
const CHECKPOINT_ATTEMPT_MS = 50;
const CHECKPOINT_PAUSE_MS = 200;

/** On PostgreSQL, where autovacuum does the rest. @returns the tables of modelgate, for `--json` */
export const analyze = (operation: Operation) =>
  changing(operation, 'organizations', ({ postgres }) => {
    const started = performance.now();
    const tables = postgres?.objects.filter(({ kind }) => kind === 'table').map(({ name }) => name) ?? [];
    const sizes = tables.map((name) => {
      const table = `${identifier(postgres?.name ?? '')}.${name}`;
      postgres?.ask(`ANALYZE ${table}`);
      const [found] =
        postgres?.ask(`SELECT count(*) AS rows, pg_total_relation_size('${table}') AS bytes FROM ${table}`) ?? [];
      return { name, rows: Number(found?.['rows']), bytes: Number(found?.['bytes']) };
    });
    return { analyzed: true, tables: sizes, seconds: secondsSince(started) };
  });

/** @returns sizes before and after, for `--json`, and the processes that kept the log from being emptied, as far as seen */
export async function maintain(
  operation: Operation,
  { vacuum, onStep }: { readonly vacuum: boolean; readonly onStep: (step: MaintenanceStep) => void },
) {
  const started = performance.now();
  const { path, patience } = operation;
  const { mode, sizes: before } = await measure(operation);
  // the rebuilt file is written once out of the way, and once into the journal or log
  if (vacuum) requireSpace(2 * before.bytes, dirname(path), 'VACUUM');
  try {
    for (const statement of vacuum ? (['analyze', 'vacuum'] as const) : (['analyze'] as const)) {
      onStep(statement);
      await waiting(path, patience, () => runLong(path, statement, patience.signal));
    }
    if (mode === 'wal') onStep('checkpoint');
    const checkpoint = mode === 'wal' ? await truncateLog(operation) : null;
    const holders = checkpoint?.busy === true ? lockHolders(path) : [];
    const { sizes: after } = await measure(operation);
    const record = { journal_mode: mode, before, after, analyzed: true, vacuumed: vacuum, checkpoint };
    return { record: { ...record, seconds: secondsSince(started) }, holders };
  } catch (error) {
    try {
      if (patience.signal.aborted) recover(path);
    } catch {
      // another process has the file open, and rolls back itself
    }
    throw toFailure(error, path);
  }
}

export type Maintenance = Awaited<ReturnType<typeof maintain>>['record'];

const measure = (operation: Operation) =>
  reading(operation, 'backend', (connection) => {
    if (!isFile(connection)) throw new TypeError('only a file has sizes');
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

/** Where another process is in the way until the end, the log keeps its size. */
async function truncateLog({ path, patience }: Operation) {
  // moves what it can without a lock that others need
  const [moved] = await runLong(path, 'checkpoint', patience.signal);
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

/** What SQLite runs in one piece, and how long one attempt waits for a lock, in milliseconds. */
const STATEMENTS = {
  integrity: { sql: 'PRAGMA integrity_check(20)', busyMs: 5_000 },
  analyze: { sql: 'ANALYZE', busyMs: ATTEMPT_MS },
  // outside of WAL mode its end must wait for readers: to give up there means to do it all again
  vacuum: { sql: 'VACUUM', busyMs: 5_000 },
  checkpoint: { sql: 'PRAGMA wal_checkpoint(PASSIVE)', busyMs: CHECKPOINT_ATTEMPT_MS },
};

type Statement = keyof typeof STATEMENTS;

function runHere(path: string, statement: Statement): readonly string[] {
  const { sql, busyMs } = STATEMENTS[statement];
  using connection = closing((statement === 'integrity' ? openForReading : openForWriting)(path, busyMs));
  const prepared = connection.prepare<[], unknown[]>(sql);
  if (!prepared.reader) return (prepared.run(), []);
  // of a checkpoint the pages in the log: the second of three columns (https://sqlite.org/pragma.html#pragma_wal_checkpoint)
  const column = statement === 'checkpoint' ? 1 : 0;
  const rows = prepared.raw().all();
  return rows.map((row) => String(row[column]));
}

/** Below this a statement is done sooner than a process for it has started. */
const WORTH_A_PROCESS_BYTES = 32 * 1024 * 1024;

type Answer = { readonly rows: readonly string[] } | { readonly code: string; readonly message: string };

/**
 * Runs it here where that is quick, and else in a process of its own, which is this file: Ctrl-C may end it at any point.
 * VACUUM always, because only a new process takes the folder of the file for SQLite's temporary files.
 * @returns rows of one column @throws errors with SQLite's code; OperationFailure where the process was ended
 */
export async function runLong(path: string, statement: Statement, signal: AbortSignal): Promise<readonly string[]> {
  const bytes = sizeOf(statement === 'checkpoint' ? `${path}-wal` : path);
  if (statement !== 'vacuum' && bytes <= WORTH_A_PROCESS_BYTES) return runHere(path, statement);
  const child = fork(import.meta.filename, {
    env: { SQLITE_TMPDIR: dirname(path) },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  using _ = addAbortListener(signal, () => void child.kill('SIGKILL'));
  const answered = new Promise<Answer | undefined>((resolve) => {
    // the other end is this file, and sends nothing else
    child.once('message', (message) => resolve(message as Answer));
    // and not `exit`, which may come before the answer has been read
    child.once('disconnect', () => resolve(undefined));
  });
  const ended = once(child, 'exit');
  child.send([path, statement]);
  const [answer] = await Promise.all([answered, ended]);
  if (answer === undefined) {
    // the terminal sends Ctrl-C to both processes at once
    await hearStop(signal);
    throw unchanged('The process that works on the file was ended from outside, perhaps for want of memory.');
  }
  if ('rows' in answer) return answer.rows;
  throw Object.assign(new Error(answer.message), { code: answer.code });
}

if (import.meta.main) {
  process.once('message', (order: Parameters<typeof runHere>) => {
    let answer: Answer;
    try {
      answer = { rows: runHere(...order) };
    } catch (error) {
      answer = { code: failureCode(error), message: error instanceof Error ? error.message : '' };
    }
    // where the command was killed nothing listens any more; the statement is done all the same
    if (process.connected) process.send?.(answer, () => process.disconnect?.());
  });
}
