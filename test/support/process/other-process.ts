/**
 * A second process with its own connections to SQLite files: the backend, or an operator with `sqlite3`. What it does
 * is seen by the gate's connections as it is in production, through the file alone.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { withTimeout } from './with-timeout.ts';

export interface OtherProcess extends AsyncDisposable {
  /** Runs statements on its connection to this file and waits until they are done; throws SQLite's words on failure. */
  run(databasePath: string, sql: string): Promise<void>;
  /** Closes its connection to this file. */
  release(databasePath: string): Promise<void>;
  close(): Promise<void>;
}

/** What travels to the other process; the answer is an empty line or SQLite's words. */
export interface Order {
  readonly path: string;
  /** Absent: close the connection. */
  readonly sql?: string;
}

export async function openOtherProcess(): Promise<OtherProcess> {
  const child = fork(fileURLToPath(new URL('./other-process-main.ts', import.meta.url)), { execArgv: [] });
  const answer = (label: string) => {
    let settle: () => void = () => undefined;
    const answered = new Promise<string>((resolve, reject) => {
      const onMessage = (message: unknown) => resolve(typeof message === 'string' ? message : JSON.stringify(message));
      const onExit = () => reject(new Error('the other process has ended'));
      settle = () => void child.off('message', onMessage).off('exit', onExit);
      child.on('message', onMessage).on('exit', onExit);
    });
    return withTimeout(answered, 15_000, label).finally(settle);
  };
  const order = async (what: Order) => {
    const done = answer(what.sql ?? 'close');
    child.send(what);
    const failure = await done;
    if (failure !== '') throw new Error(failure);
  };
  const close = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    await withTimeout(ended, 15_000, 'end of the other process');
  };
  await answer('start of the other process');
  return {
    run: (path, sql) => order({ path, sql }),
    release: (path) => order({ path }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
