/** Statements that SQLite runs in one piece, on a large file in a process of their own, which is this file: Ctrl-C may end it at any point. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { unchanged } from '../backend-file/failure.ts';
import { closing, hearStop } from '../backend-file/transaction.ts';
import { failureCode, openForReading, openForWriting } from '../store/database.ts';
import { sizeOf } from './files.ts';

const STATEMENTS = {
  integrity: 'PRAGMA integrity_check(20)',
  analyze: 'ANALYZE',
  vacuum: 'VACUUM',
  checkpoint: 'PRAGMA wal_checkpoint(PASSIVE)',
};

interface Order {
  readonly path: string;
  readonly statement: keyof typeof STATEMENTS;
  /** How long one attempt waits for a lock, in milliseconds. */
  readonly busyMs: number;
}

function runHere({ path, statement, busyMs }: Order): readonly string[] {
  using connection = closing((statement === 'integrity' ? openForReading : openForWriting)(path, busyMs));
  const prepared = connection.prepare<[], unknown[]>(STATEMENTS[statement]);
  if (!prepared.reader) return (prepared.run(), []);
  // of a checkpoint the pages in the log: the second of three columns (https://sqlite.org/pragma.html#pragma_wal_checkpoint)
  const column = statement === 'checkpoint' ? 1 : 0;
  const rows = prepared.raw().all();
  return rows.map((row) => String(row[column]));
}

/** Below this a statement is done sooner than a process for it has started. */
const WORTH_A_PROCESS_BYTES = 32 * 1024 * 1024;

/** Runs the statement here where that is quick. @returns rows of one column @throws as `runApart` */
export async function runWhereItFits(order: Order, signal: AbortSignal): Promise<readonly string[]> {
  const { path, statement } = order;
  const bytes = sizeOf(statement === 'checkpoint' ? `${path}-wal` : path);
  return bytes > WORTH_A_PROCESS_BYTES ? runApart(order, signal) : runHere(order);
}

type Answer = { readonly rows: readonly string[] } | { readonly code: string; readonly message: string };

/** Runs it in a process of its own. @throws errors with SQLite's code; OperationFailure where the process was ended */
export async function runApart(order: Order, signal: AbortSignal): Promise<readonly string[]> {
  const child = fork(import.meta.filename, {
    env: { SQLITE_TMPDIR: dirname(order.path) },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const stop = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  try {
    const answer = await new Promise<Answer | undefined>((resolve, reject) => {
      child.once('error', reject);
      // the other end is this file, and sends nothing else
      child.once('message', (message) => resolve(message as Answer));
      // and not `exit`, which may come before the answer has been read
      child.once('disconnect', () => resolve(undefined));
      if (signal.aborted) stop();
      else child.send(order);
    });
    if (answer === undefined) {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      // the terminal sends Ctrl-C to both processes at once
      await hearStop(signal);
      throw unchanged('The process that works on the file was ended from outside, perhaps for want of memory.');
    }
    if ('rows' in answer) return answer.rows;
    throw Object.assign(new Error(answer.message), { code: answer.code });
  } finally {
    signal.removeEventListener('abort', stop);
    if (child.connected) child.disconnect();
  }
}

if (import.meta.main) {
  process.once('message', (order: Order) => {
    let answer: Answer;
    try {
      answer = { rows: runHere(order) };
    } catch (error) {
      answer = { code: failureCode(error), message: error instanceof Error ? error.message : '' };
    }
    // where the command was killed nothing listens any more; the statement is done all the same
    if (process.connected) process.send?.(answer, () => process.disconnect?.());
  });
}
