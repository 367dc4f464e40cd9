/**
 * What is known of the file after a look at it, and what a further look says: whether it is the same file, and whether
 * memberships or grants may be others.
 */
import { type FileIdentity, failureCode, isBusy, MissingFile, type Reader } from './database.ts';
import { prepareStatements, type Statements, type Versions } from './queries.ts';
import { UnreadableSchema } from './schema.ts';

export interface FileState {
  readonly reader: Reader;
  readonly statements: Statements;
  /** As it was before anything else of this state was read: what was written since then will be seen. */
  readonly identity: FileIdentity;
  readonly dataVersion: number;
  readonly schemaVersion: number;
  readonly layout: string;
  readonly versions: Versions | undefined;
}

/** What a look has found out; everything that is not named is as it was. */
export interface Change {
  /** Memberships may be others. */
  readonly members: boolean;
  /** Grants may be others. */
  readonly models: boolean;
}

export const EVERYTHING: Change = { members: true, models: true };

/** Why the file is read again; with none of them it need not be. */
export interface Signs {
  /** Another connection has committed. */
  readonly isCommitted: boolean;
  /**
   * The file was written to. Without a commit that is a checkpoint, which has no news, or the work of a program that is
   * not SQLite: another file was copied over this one.
   */
  readonly isWritten: boolean;
  /** It is time to doubt the counters. */
  readonly isDue: boolean;
}

/** Takes the reader over: it is closed where nothing can be read. @throws as `prepareStatements` */
export function beginState(reader: Reader): FileState {
  try {
    const dataVersion = reader.dataVersion();
    const schemaVersion = reader.schemaVersion();
    const layout = reader.layout();
    const statements = prepareStatements(reader.connection);
    const versions = statements.versions();
    return { reader, statements, identity: reader.identity, dataVersion, schemaVersion, layout, versions };
  } catch (error) {
    reader.connection.close();
    throw error;
  }
}

/** How a state goes on. */
interface Continued {
  readonly versions: Versions | undefined;
  readonly change: Change;
  /** A counter changed without a commit: another file was copied over this one. */
  readonly isReplaced: boolean;
}

/**
 * Asks the file through what was prepared for `before`.
 * @returns undefined where the file is another one by now: such statements fail, or find another layout
 * @throws SqliteError where the file is locked
 */
export function continueState(before: FileState, { isCommitted, isWritten, isDue }: Signs): Continued | undefined {
  const { reader, statements } = before;
  return unlessUnreadable(() => {
    if (!isCommitted) reader.dropPages();
    const versions = statements.versions();
    const counted = changeBetween(before.versions, versions);
    const isCounted = counted.members || counted.models;
    // the counters are random: only a commit of our own triggers leads from one to the next
    const isTrusted = !isDue && (isCommitted || !isWritten);
    if (reader.schemaVersion() !== before.schemaVersion) return undefined;
    if ((!isTrusted || isCounted) && reader.layout() !== before.layout) return undefined;
    const isReplaced = !isCommitted && isCounted && versions !== undefined;
    return { versions, change: isTrusted ? counted : EVERYTHING, isReplaced };
  });
}

/**
 * @returns undefined where the connection cannot read what stands there, which a new one may well be able to
 * @throws SqliteError where the file is locked
 */
export function unlessUnreadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isBusy(error) || !isOutage(error)) throw error;
    return undefined;
  }
}

/** Without counters, everything may be another. */
const changeBetween = (before: Versions | undefined, after: Versions | undefined): Change =>
  before === undefined || after === undefined
    ? EVERYTHING
    : { members: before.members !== after.members, models: before.models !== after.models };

/** Anything else is a mistake of ours, and hiding it behind "the file cannot be read" would cost a day of search. */
export const isOutage = (error: unknown): boolean =>
  error instanceof MissingFile ||
  error instanceof UnreadableSchema ||
  failureCode(error).startsWith('SQLITE_') ||
  (error instanceof Error && 'syscall' in error);
