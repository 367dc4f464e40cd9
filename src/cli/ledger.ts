/** The ledger, opened for one command, with short attempts to get its lock. */
import { existsSync, statSync } from 'node:fs';
import { OperationFailure, toFailure, unchanged } from '../backend-file/failure.ts';
import { type Operation, ATTEMPT_MS, closing, committing, recovering, waiting } from '../backend-file/transaction.ts';
import {
  type Connection,
  type FileConnection,
  failureCode,
  noteCompanions,
  openForReading,
  openForWriting,
} from '../store/database.ts';
import { openBlocking } from '../store/postgres/blocking.ts';
import { PostgresFailure } from '../store/postgres/failure.ts';
import { type Book, createBook } from '../usage/book.ts';
import { PostgresLedger, lockOf } from '../usage/postgres-ledger.ts';
import { remedyFor } from '../usage/remedy.ts';
import { hasLedger, makeLedgerTables, openUsageFile } from '../usage/schema.ts';

/** Reads in one transaction. @throws OperationFailure where there is no ledger, or it cannot be read */
export async function readingLedger<T>(ledger: Operation, read: (connection: Connection) => T): Promise<T> {
  const { path, postgres, patience } = ledger;
  if (postgres !== undefined) {
    return await onLedger(ledger, async () => {
      using connection = closing(await openBlocking(postgres));
      if (!hasLedger(connection)) throw absent(path, '');
      return await committing(connection, 'deferred', patience.signal, () => read(connection));
    });
  }
  using cleanup = new DisposableStack();
  cleanup.defer(noteCompanions(path));
  return await onLedger(ledger, () => {
    if (!existsSync(path)) throw absent(path);
    return recovering(path, () => {
      using connection = closing(openForReading(path, ATTEMPT_MS));
      requireLedger(connection, path);
      return connection.transaction(read)(connection);
    });
  });
}

/**
 * Changes in one transaction. Ctrl-C is heard until the commit begins; `change` may run again, and must keep nothing outside.
 * @param mayBeNew makes the file where there is none, and says so
 * @param besideCalls on PostgreSQL calls go on meanwhile: for what only commands read and write, one after the other
 * @throws OperationFailure as `readingLedger`
 */
export function changingLedger<T>(
  ledger: Operation,
  change: (connection: Connection) => T | Promise<T>,
  { mayBeNew = false, besideCalls = false }: { readonly mayBeNew?: boolean; readonly besideCalls?: boolean } = {},
): Promise<T> {
  const { path, postgres, patience } = ledger;
  if (postgres !== undefined) {
    return onLedger(ledger, async () => {
      using connection = closing(await openBlocking(postgres));
      if (mayBeNew) makeLedgerTables(connection);
      else if (!hasLedger(connection)) throw absent(path, '');
      return await committing(connection, 'immediate', patience.signal, () => {
        if (!besideCalls) connection.exec(lockOf(connection.postgres?.name ?? ''));
        return change(connection);
      });
    });
  }
  return onLedger(ledger, async () => {
    const isNew = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;
    if (isNew && !mayBeNew) throw absent(path);
    if (!isNew) {
      // before anything is made in a file that may be the backend's
      using connection = closing(openForWriting(path, ATTEMPT_MS));
      requireLedger(connection, path);
    }
    using connection = closing(openUsageFile(path, ATTEMPT_MS));
    if (isNew) patience.say(`There was no ledger at ${path}: made a new one.`);
    return await committing(connection, 'immediate', patience.signal, () => change(connection));
  });
}

/**
 * Moves of the book in one transaction, as a gate makes them: what many of them read is asked for together, since calls wait.
 * @returns what each comes to @throws OperationFailure as `readingLedger`
 */
export function movingLedger<T>(ledger: Operation, movesOf: (book: Book) => readonly (() => T)[]): Promise<T[]> {
  const { postgres } = ledger;
  if (postgres === undefined)
    return changingLedger(ledger, (connection) => movesOf(createBook(connection)).map((move) => move()));
  return onLedger(ledger, () => {
    const server = new PostgresLedger(postgres);
    using cleanup = new DisposableStack();
    cleanup.defer(server.close);
    server.connect();
    return server.transact(movesOf(createBook(server.connection, server.seen)), true);
  });
}

/** For a command that goes on without a ledger. @returns the problem where `read` cannot read it */
export async function ifReadable<T>(read: () => Promise<T>): Promise<T | { readonly problem: string }> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof OperationFailure)) throw error;
    return { problem: error.message.replace(' Nothing was changed.', '') };
  }
}

async function onLedger<T>({ path, postgres, patience }: Operation, attempt: () => T | Promise<T>): Promise<T> {
  try {
    return await waiting(path, patience, attempt);
  } catch (error) {
    if (error instanceof PostgresFailure && error.code === '42501')
      throw unchanged(error.message, remedyFor(error.code, postgres), { cause: error, code: 'not_permitted' });
    if (failureCode(error) === 'SQLITE_NOTADB') throw noLedger(path);
    const lacks = error instanceof Error && /^no such (?:table|column): \w+$/.exec(error.message)?.[0];
    throw lacks ? otherVersion(path, lacks) : toFailure(error, path);
  }
}

const NAME_IT = 'Name the usage.db of modelgate with --usage-database.';

const absent = (path: string, remedy = NAME_IT) =>
  unchanged(`There is no ledger at ${path}. The gate makes it when it starts with a provider door.`, remedy, {
    code: 'no_such_file',
  });

const noLedger = (path: string) =>
  unchanged(`${path} is no ledger of modelgate: it has no table usage_request.`, NAME_IT);

const otherVersion = (path: string, lacks: string) =>
  unchanged(
    `${path} is the ledger of another version of modelgate: ${lacks}.`,
    'Start the gate of this version on it once: it makes what is missing.',
  );

function requireLedger(connection: FileConnection, path: string): void {
  const table = connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'usage_request'").get();
  if (table === undefined) throw noLedger(path);
}
