/** The backend's file, opened for one operation and changed in one transaction, with short attempts to get its lock. */
import { existsSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { PostgresAddress } from '../config/postgres-url.ts';
import { type BackendRelease, NEWEST_KNOWN_RELEASE, readBackendRelease } from '../store/backend-releases.ts';
import {
  type Connection,
  failureCode,
  isBusy,
  isFile,
  noteCompanions,
  openForReading,
  openForWriting,
} from '../store/database.ts';
import { openBlocking } from '../store/postgres/blocking.ts';
import { PostgresFailure } from '../store/postgres/failure.ts';
import { ONE_AT_A_TIME } from '../store/postgres/initialize.ts';
import { type Schema, readSchema } from '../store/schema.ts';
import { NAME_IT, OperationFailure, toFailure, unchanged } from './failure.ts';
import { quoted } from './text.ts';

export interface Operation {
  /** Of the file; on PostgreSQL its URL without password, for sentences. */
  readonly path: string;
  /** Undefined for a file of SQLite. */
  readonly postgres?: PostgresAddress | undefined;
  readonly patience: {
    readonly longestMs: number;
    /** Aborted by Ctrl-C: the operation ends before it has changed anything. */
    readonly signal: AbortSignal;
    /** Called once for each wait, as soon as it begins. */
    readonly say: (sentence: string) => void;
  };
}

/** Tables that the file must hold already. */
type Needed = 'backend' | 'organizations';

type Work<T> = (connection: Connection, schema: Schema) => T | Promise<T>;

/** How long one attempt waits for a lock, in milliseconds: a writer that waits to commit keeps new readers out. */
export const ATTEMPT_MS = 250;
const PAUSE_MS = 50;

/** Reads in one transaction. @throws OperationFailure where the file is no readable Open WebUI database, and after Ctrl-C */
export const reading = <T>(operation: Operation, needed: Needed, read: Work<T>): Promise<T> =>
  transact(operation, 'deferred', needed, read);

/** Changes in one transaction; Ctrl-C is heard until the commit begins. `change` may run again, and must keep nothing outside. */
export const changing = <T>(operation: Operation, needed: Needed, change: Work<T>): Promise<T> =>
  transact(operation, 'immediate', needed, change);

type Mode = 'deferred' | 'immediate';

async function transact<T>(operation: Operation, mode: Mode, needed: Needed, work: Work<T>): Promise<T> {
  const { path, postgres, patience } = operation;
  using cleanup = new DisposableStack();
  if (postgres === undefined) {
    if (mode === 'deferred') cleanup.defer(noteCompanions(path));
    if (!existsSync(path)) {
      throw new OperationFailure(`There is no file at ${path}. ${NAME_IT}`, { code: 'no_such_file' });
    }
  }
  const openFile = mode === 'deferred' ? openForReading : openForWriting;
  const open = () => (postgres === undefined ? openFile(path, ATTEMPT_MS) : openBlocking(postgres));
  let hasWarned = mode === 'deferred';
  try {
    using connection = closing(await waiting<Connection>(path, patience, open));
    const act = (): T | Promise<T> => {
      const schema = readSchema(connection);
      requireTables(path, schema, needed, postgres !== undefined);
      const doubt = hasWarned ? undefined : doubtAbout(readBackendRelease(connection));
      hasWarned = true;
      if (doubt !== undefined)
        patience.say(
          `Take care: ${postgres === undefined ? 'the file' : path} ${doubt}. A backup first: \`modelgate backup DIR\``,
        );
      return work(connection, schema);
    };
    const attempt = () => committing(connection, mode, patience.signal, act);
    return await waiting(path, patience, () => recovering(path, attempt));
  } catch (error) {
    throw toFailure(error, path);
  }
}

/** As `transaction` of better-sqlite3, whose work has to end in the turn in which it began. Ctrl-C is heard until the commit. */
export async function committing<T>(
  connection: Connection,
  mode: Mode,
  signal: AbortSignal,
  act: () => T | Promise<T>,
): Promise<T> {
  try {
    begin(connection, mode);
    const done = await act();
    await hearStop(signal);
    connection.exec('COMMIT');
    return done;
  } finally {
    // some errors have ended it already
    if (connection.inTransaction) connection.exec('ROLLBACK');
  }
}

/** Changes on PostgreSQL come one after the other, as on a file, and each wait for a lock is short: what it waits for is said. */
function begin(connection: Connection, mode: Mode): void {
  if (isFile(connection)) return void connection.exec(`BEGIN ${mode}`);
  connection.exec(mode === 'deferred' ? 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' : 'BEGIN');
  connection.exec(`SET LOCAL lock_timeout = ${4 * ATTEMPT_MS}`);
  if (mode === 'immediate') connection.exec(ONE_AT_A_TIME);
}

export const closing = <C extends Connection>(connection: C): C & Disposable =>
  Object.assign(connection, { [Symbol.dispose]: () => void connection.close() });

/** The one wait for a lock: runs `attempt` until SQLite no longer calls the file busy. @throws what it threw last */
export async function waiting<T>(
  path: string,
  { longestMs, signal, say }: Operation['patience'],
  attempt: () => T | Promise<T>,
  { pauseMs = PAUSE_MS, announcement }: { readonly pauseMs?: number; readonly announcement?: string } = {},
): Promise<T> {
  const until = performance.now() + longestMs;
  for (let hasSaid = false; ; hasSaid = true) {
    await hearStop(signal);
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= until) throw error;
      const waits = error instanceof PostgresFailure ? `${error.message} Waiting for it.` : undefined;
      if (!hasSaid) say(announcement ?? waits ?? `Another process holds the lock of ${path}: waiting for it.`);
    }
    await sleep(pauseMs);
  }
}

export function requireTables(
  path: string,
  { backendReady, problem, hasUserTable }: Schema,
  needed: Needed,
  isPostgres = false,
): void {
  if (!hasUserTable) {
    const remedy = isPostgres ? 'Set DATABASE_URL and DATABASE_SCHEMA as the backend has them.' : NAME_IT;
    const sentence = `${path} is no database of Open WebUI: it has no table "user". ${remedy} A backend that has never run must be started once.`;
    throw new OperationFailure(sentence, { code: 'not_open_webui' });
  }
  if (!backendReady) {
    const finding = `${path} has the tables of Open WebUI in a shape that this version does not know: it may belong to a newer release, or be in the middle of a migration.`;
    throw unchanged(finding, 'Look for a newer modelgate.');
  }
  if (needed === 'backend' || problem === undefined) return;
  const sentence = `${path} cannot be used yet: ${problem}. To make what is missing: \`modelgate init\` To link all users and models too: \`modelgate migrate --org ID --name NAME\``;
  throw new OperationFailure(sentence);
}

/** @returns what is odd about the release that wrote the file, after "the file"; undefined for a known release */
export function doubtAbout(release: BackendRelease): string | undefined {
  if (release.kind === 'known') return undefined;
  return release.kind === 'newer'
    ? `is newer than this modelgate knows, or a fork's: migration ${quoted(release.revision)} is none of Open WebUI 0.3.0 to ${NEWEST_KNOWN_RELEASE}`
    : 'carries no mark of a migration of Open WebUI (table alembic_version)';
}

/** A killed writer leaves a journal, which only a connection that may write rolls back; one for reading fails like this. */
const RECOVERABLE = /^SQLITE_READONLY_(?:ROLLBACK|RECOVERY|CANTINIT)$/;

/** Runs `attempt`, and once more after the recovery that it asked for. @throws what it threw, where it cannot be done */
export async function recovering<T>(path: string, attempt: () => T | Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!RECOVERABLE.test(failureCode(error))) throw error;
    try {
      recover(path);
    } catch (trouble) {
      throw isBusy(trouble) ? trouble : error;
    }
    return attempt();
  }
}

/** Rolls back what was never committed. @throws SqliteError where this process may not, or another holds the lock */
export function recover(path: string): void {
  using connection = closing(openForWriting(path, ATTEMPT_MS));
  connection.prepare('SELECT count(*) FROM sqlite_schema').get();
}

/** Lets the event loop run once, so that signals are heard. @throws OperationFailure after Ctrl-C */
export async function hearStop(signal: AbortSignal): Promise<void> {
  await nextTurn();
  requireGoingOn(signal);
}

/** @throws OperationFailure after Ctrl-C */
export function requireGoingOn({ aborted }: AbortSignal): void {
  if (aborted) throw unchanged('Stopped.');
}
