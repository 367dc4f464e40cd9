/**
 * The backend's file as operations use it: opened for one operation, waited for politely, changed in one transaction.
 *
 * A killed process leaves the file as it was, because nothing is written outside of that transaction; the backend is
 * held up for no longer than the transaction takes, because a lock is asked for in short attempts.
 */
import { existsSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { readBackendRelease } from '../store/backend-releases.ts';
import { noteCompanions } from '../store/companions.ts';
import type { Connection } from '../store/database.ts';
import { failureCode, isBusy, openForReading, openForWriting } from '../store/database.ts';
import type { Schema } from '../store/schema-reader.ts';
import { readSchema } from '../store/schema-reader.ts';
import { doubtAbout } from './facts.ts';
import { OperationFailure, toFailure } from './failure.ts';

/** How an operation waits for somebody else's lock. */
export interface Patience {
  readonly longestMs: number;
  /** Aborted by Ctrl-C: the operation ends before it has changed anything. */
  readonly signal: AbortSignal;
  /** Told once for each wait, as soon as it is one. */
  readonly say: (sentence: string) => void;
}

export interface Operation {
  readonly path: string;
  readonly patience: Patience;
}

/** What the file must hold already: the backend's own tables alone, or those of organizations too. */
export type Needed = 'backend' | 'organizations';

/** What is done in a transaction. What takes long lets the event loop run in between (`hearStop`). */
type Work<T> = (connection: Connection, schema: Schema) => T | Promise<T>;

/**
 * Reads in one transaction: everything that is read belongs together.
 * @throws OperationFailure where the file is not there, not readable, or not an Open WebUI database, and after Ctrl-C
 */
export async function reading<T>(operation: Operation, needed: Needed, read: Work<T>): Promise<T> {
  const tidyUp = noteCompanions(operation.path);
  try {
    return await attempting(operation, () => openForReading(operation.path, ATTEMPT_MS), 'deferred', needed, read);
  } finally {
    tidyUp();
  }
}

/**
 * Changes in one transaction, and whole or not at all: Ctrl-C is heard until the commit begins, and a command that comes
 * back has committed. `change` may run again: it must keep nothing outside.
 * @throws OperationFailure as `reading`, and where the file cannot be written
 */
export function changing<T>(operation: Operation, needed: Needed, change: Work<T>): Promise<T> {
  return attempting(operation, () => openForWriting(operation.path, ATTEMPT_MS), 'immediate', needed, change);
}

/** One attempt for the lock: short, because a writer that waits to commit keeps new readers out meanwhile. */
const ATTEMPT_MS = 250;
const PAUSE_MS = 50;

async function attempting<T>(
  { path, patience }: Operation,
  open: () => Connection,
  kind: 'deferred' | 'immediate',
  needed: Needed,
  work: Work<T>,
): Promise<T> {
  if (!existsSync(path)) {
    throw new OperationFailure(`There is no file at ${path}. ${WHERE_IT_IS}`, { code: 'no_such_file' });
  }
  let connection: Connection | undefined;
  let warned = false;
  const warnOnce = (opened: Connection): void => {
    const doubt = warned ? undefined : doubtAbout(readBackendRelease(opened));
    if (doubt !== undefined) patience.say(`Take care: ${doubt}. A backup first: \`modelgate backup DIR\``);
    warned = true;
  };
  try {
    const opened = await waiting(path, patience, () => open());
    connection = opened;
    const attempt = (): Promise<T> =>
      inTransaction(opened, kind, async () => {
        const schema = readSchema(opened);
        requireTables(path, schema, needed);
        if (kind === 'immediate') warnOnce(opened);
        const done = await work(opened, schema);
        await hearStop(patience.signal);
        return done;
      });
    return await waiting(path, patience, () => recovering(path, attempt));
  } catch (error) {
    throw toFailure(error, path);
  } finally {
    connection?.close();
  }
}

/** As better-sqlite3's own, whose work has to end in the turn in which it began. */
async function inTransaction<T>(
  connection: Connection,
  kind: 'deferred' | 'immediate',
  work: () => Promise<T>,
): Promise<T> {
  connection.exec(`BEGIN ${kind}`);
  try {
    const done = await work();
    connection.exec('COMMIT');
    return done;
  } finally {
    // some errors have ended it already
    if (connection.inTransaction) connection.exec('ROLLBACK');
  }
}

/** Runs `attempt` until no lock is in its way. @throws what it threw last; OperationFailure after Ctrl-C */
export async function waiting<T>(path: string, patience: Patience, attempt: () => T | Promise<T>): Promise<T> {
  const until = performance.now() + patience.longestMs;
  for (let said = false; ; said = true) {
    await hearStop(patience.signal);
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= until) throw error;
      if (!said) patience.say(`Another process holds the lock of ${path}: waiting for it.`);
    }
    await sleep(PAUSE_MS);
  }
}

const WHERE_IT_IS = 'Name the webui.db of the backend with --database or DATABASE_URL.';

/** @throws OperationFailure where the file lacks what is needed */
export function requireTables(path: string, { backendReady, problem, hasUserTable }: Schema, needed: Needed): void {
  if (!hasUserTable) {
    throw new OperationFailure(
      `${path} is no database of Open WebUI: it has no table "user". ${WHERE_IT_IS} A backend that has never run must be started once.`,
      { code: 'not_open_webui' },
    );
  }
  if (!backendReady) {
    throw new OperationFailure(
      `${path} has the tables of Open WebUI in a shape that this version does not know: it may belong to a newer release, or be in the middle of a migration. Nothing was changed. Look for a newer modelgate.`,
    );
  }
  if (needed === 'backend' || problem === undefined) return;
  throw new OperationFailure(
    `${path} cannot be used yet: ${problem}. To make what is missing: \`modelgate init\` To take everybody along too: \`modelgate migrate --org ID --name NAME\``,
  );
}

// What a killed writer leaves behind: a journal that has to be rolled back before anybody can read. SQLite does so by
// itself for whoever may write; a connection for reading cannot, and would say that the file needs a recovery.

const BUSY_MS = 250;

const RECOVERABLE: ReadonlySet<string> = new Set([
  'SQLITE_READONLY_ROLLBACK',
  'SQLITE_READONLY_RECOVERY',
  'SQLITE_READONLY_CANTINIT',
]);

/** Runs `attempt`, and once more after the recovery that it asked for. @throws what it threw, where it cannot be done */
export async function recovering<T>(path: string, attempt: () => T | Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!RECOVERABLE.has(failureCode(error))) throw error;
    try {
      recover(path);
    } catch (trouble) {
      throw isBusy(trouble) ? trouble : error;
    }
    return attempt();
  }
}

/** Rolls back what was never committed. @throws SqliteError where this process may not, or somebody holds the lock */
export function recover(path: string): void {
  const connection = openForWriting(path, BUSY_MS);
  try {
    connection.prepare('SELECT count(*) FROM sqlite_schema').get();
  } finally {
    connection.close();
  }
}

// How an operation hears Ctrl-C. SQLite runs each statement in one piece, and a signal is handled only between two
// turns of the event loop: whoever works without such a turn ends as if nobody had asked to stop.

/**
 * Lets the event loop run once, and so the signals that came meanwhile be heard.
 * @throws OperationFailure after Ctrl-C
 */
export async function hearStop(signal: AbortSignal, sentence?: string): Promise<void> {
  await nextTurn();
  requireGoingOn(signal, sentence);
}

/** For what runs between two turns anyway. @throws OperationFailure after Ctrl-C */
export function requireGoingOn(signal: AbortSignal, sentence = 'Stopped. Nothing was changed.'): void {
  if (signal.aborted) throw new OperationFailure(sentence);
}
