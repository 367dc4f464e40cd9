/**
 * Whether anybody has the database open. No single look proves it: outside WAL mode an idle connection holds no lock,
 * processes of other containers cannot be seen, and a backend that answers may be asked only where its address is known.
 * So all three are asked, and what one of them says counts.
 */
import { OperationFailure } from '../backend-file/failure.ts';
import type { FileHolder } from '../backend-file/processes.ts';
import { findHolders } from '../backend-file/processes.ts';
import type { Connection } from '../store/database.ts';
import { isBusy, openForWriting } from '../store/database.ts';

export interface InUseOptions {
  readonly path: string;
  /** Where the backend answers while it runs; undefined where nobody has said it. */
  readonly backend: URL | undefined;
  readonly signal: AbortSignal;
  readonly say: (sentence: string) => void;
}

/** @throws OperationFailure that names who has the file open */
export async function requireUnused({ path, backend, signal, say }: InUseOptions): Promise<void> {
  const { blind } = requireNoHolders(path);
  const answer = backend === undefined ? undefined : await askBackend(backend, signal);
  if (answer !== undefined) {
    throw new OperationFailure(
      `The backend at ${backend?.origin ?? ''} ${answer}, so it is running. ${STOP_THEM} If another backend answers there, unset MODELGATE_UPSTREAM_URL for this command.`,
    );
  }
  if (blind !== undefined) {
    say(
      `Nobody is seen to have ${path} open, but ${blind}${backend === undefined ? ', and MODELGATE_UPSTREAM_URL, where the backend could be asked, is not set' : ''}: make sure that the backend and the gate are stopped.`,
    );
  }
}

const STOP_THEM = 'Nothing was changed. Stop the backend and the gate first, such as with docker compose stop.';

/** @returns why processes may have been missed @throws OperationFailure that names who has the file open */
export function requireNoHolders(path: string): { readonly blind: string | undefined } {
  const { holders, blind } = findHolders([path, `${path}-wal`, `${path}-shm`]);
  if (holders.length === 0) return { blind };
  throw new OperationFailure(`${path} is in use by ${holders.map(describe).join(' and ')}. ${STOP_THEM}`, {
    code: 'locked',
  });
}

const describe = ({ pid, command }: FileHolder): string =>
  `process ${pid} (${command.length > 80 ? `${command.slice(0, 79)}…` : command})`;

/** Whoever is connected in WAL mode, or in a transaction outside of it, is in the way of this lock. */
const BUSY_MS = 1_000;

/**
 * Opens the file so that nobody else can. Its log is moved into it: the file alone is the whole database then.
 * @returns the connection that holds the lock, until it is closed
 * @throws OperationFailure where somebody is in the way; SqliteError where the file is damaged
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
    throw new OperationFailure(
      `${path} is in use: another process holds a lock on it, one that cannot be seen from here, such as in another container. ${STOP_THEM}`,
      { cause: error, code: 'locked' },
    );
  }
}

const ANSWER_MS = 5_000;

/** Nobody is there, or nobody by this name: everything else is somebody. */
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
    if (signal.aborted) throw new OperationFailure('Stopped. Nothing was changed.');
    const cause = error instanceof Error ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    return ABSENT.test(code) ? undefined : `could be reached and did not answer (${code || 'nothing within 5 s'})`;
  }
}
