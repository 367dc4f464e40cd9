/**
 * Statements that take long, in a process of their own: SQLite runs each in one piece, and meanwhile this process would
 * neither hear Ctrl-C nor draw its progress. The other one can be ended at any point; SQLite rolls back what it began.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationFailure } from '../backend-file/failure.ts';
import { hearStop } from '../backend-file/transaction.ts';
import { sizeOf } from './files.ts';
import type { Order } from './statements.ts';
import { runStatement } from './statements.ts';

/** What comes back. */
export type Answer = { readonly rows: readonly string[] } | { readonly code: string; readonly message: string };

/** As SQLite said it in the other process; `failureCode` and `isBusy` read it as they read their own. */
class StatementError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'StatementError';
    this.code = code;
  }
}

/**
 * @param temporary folder for what SQLite writes out of the way; VACUUM needs as much room there as the file has bytes
 * @throws errors with SQLite's code; OperationFailure after Ctrl-C, or where the process was ended by somebody else
 */
export async function runApart(order: Order, temporary: string, signal: AbortSignal): Promise<readonly string[]> {
  const child = fork(fileURLToPath(new URL('./long-statement-main.ts', import.meta.url)), {
    env: { SQLITE_TMPDIR: temporary },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const stop = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  try {
    const answer = await new Promise<Answer | undefined>((resolve, reject) => {
      child.once('error', reject);
      // the other end is ours, and sends nothing else
      child.once('message', (message) => resolve(message as Answer));
      // and not `exit`, which may come before the answer has been read
      child.once('disconnect', () => resolve(undefined));
      if (signal.aborted) stop();
      else child.send(order);
    });
    if (answer === undefined) {
      // its locks are given back with its end
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      // the terminal sends Ctrl-C to both processes at once
      await hearStop(signal);
      throw new OperationFailure(
        'The process that works on the file was ended from outside, perhaps for want of memory. Nothing was changed.',
      );
    }
    if ('rows' in answer) return answer.rows;
    throw new StatementError(answer.code, answer.message);
  } finally {
    signal.removeEventListener('abort', stop);
    if (child.connected) child.disconnect();
  }
}

/** Below this a statement is done sooner than a process for it has started. */
const WORTH_A_PROCESS_BYTES = 32 * 1024 * 1024;

/** Runs it here where that is quick. @throws as `runApart` */
export async function runWhereItFits(order: Order, signal: AbortSignal): Promise<readonly string[]> {
  const { path, statement } = order;
  const bytes = sizeOf(statement === 'checkpoint' ? `${path}-wal` : path);
  return bytes > WORTH_A_PROCESS_BYTES ? runApart(order, dirname(path), signal) : runStatement(order);
}
