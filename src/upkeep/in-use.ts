/**
 * Whether another process has the database open. No single look proves it: outside WAL mode an idle connection holds no
 * lock, processes of other containers cannot be seen, and only a backend whose address is known can be asked. So all
 * three are tried, and one that finds something is enough.
 */
import { unchanged } from '../backend-file/failure.ts';
import { findHolders } from '../backend-file/processes.ts';
import { type Connection, isBusy, openForWriting } from '../store/database.ts';

export interface InUseOptions {
  readonly path: string;
  /** Where the backend answers while it runs; undefined where that is not configured. */
  readonly backend: URL | undefined;
  readonly signal: AbortSignal;
  readonly say: (sentence: string) => void;
}

/** @throws OperationFailure that names who has the file open */
export async function requireUnused({ path, backend, signal, say }: InUseOptions): Promise<void> {
  const { blind } = requireNoHolders(path);
  const answer = backend === undefined ? undefined : await askBackend(backend, signal);
  if (answer !== undefined) {
    throw unchanged(
      `The backend at ${backend?.origin ?? ''} ${answer}, so it is running.`,
      `${STOP_THEM} If another backend answers there, unset MODELGATE_UPSTREAM_URL for this command.`,
    );
  }
  if (blind === undefined) return;
  const unasked =
    backend === undefined ? ', and MODELGATE_UPSTREAM_URL, where the backend could be asked, is not set' : '';
  say(
    `No process is seen to have ${path} open, but ${blind}${unasked}: make sure that the backend and the gate are stopped.`,
  );
}

const STOP_THEM = 'Stop the backend and the gate first, such as with docker compose stop.';

/** @returns why processes may have been missed @throws OperationFailure that names who has the file open */
export function requireNoHolders(path: string): { readonly blind: string | undefined } {
  const { holders, blind } = findHolders([path, `${path}-wal`, `${path}-shm`]);
  if (holders.length === 0) return { blind };
  const named = holders.map(
    ({ pid, command }) => `process ${pid} (${command.length > 80 ? `${command.slice(0, 79)}…` : command})`,
  );
  throw unchanged(`${path} is in use by ${named.join(' and ')}.`, STOP_THEM, { code: 'locked' });
}

const BUSY_MS = 1_000;

/**
 * Opens the file so that no other process can: every connection in WAL mode, and every transaction outside of it, is in
 * the way of this lock. The log is moved into the file, which alone is the whole database then.
 * @returns the connection that holds the lock, until it is closed
 * @throws OperationFailure where another process is in the way; SqliteError where the file is damaged
 */
export function openAlone(path: string): Connection {
  const connection = openForWriting(path, BUSY_MS);
  try {
    connection.pragma('locking_mode = exclusive');
    // the lock comes with the first transaction, and in this mode it stays
    connection.exec('BEGIN EXCLUSIVE; COMMIT');
    if (connection.pragma('journal_mode', { simple: true }) === 'wal') connection.pragma('wal_checkpoint(TRUNCATE)');
    connection.exec('BEGIN EXCLUSIVE');
    return connection;
  } catch (error) {
    connection.close();
    if (!isBusy(error)) throw error;
    throw unchanged(
      `${path} is in use: another process holds a lock on it, one that cannot be seen from here, such as in another container.`,
      STOP_THEM,
      { cause: error, code: 'locked' },
    );
  }
}

const ANSWER_MS = 5_000;

/** Nothing listens at the address, or the name does not exist; any other error comes from something that runs. */
const ABSENT = /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN)$/;

/** @returns what the backend does, or undefined where nothing listens */
async function askBackend(backend: URL, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { status, body } = await fetch(new URL('/health', backend), {
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    });
    await body?.cancel();
    // a proxy in between that finds no backend
    return status >= 502 && status <= 504 ? undefined : `answers (status ${status})`;
  } catch (error) {
    if (signal.aborted) throw unchanged('Stopped.');
    const cause = error instanceof Error ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    return ABSENT.test(code) ? undefined : `could be reached and did not answer (${code || 'nothing within 5 s'})`;
  }
}
