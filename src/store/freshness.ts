/**
 * Keeps a reader on the file that stands at the path, and knows how old what it saw is.
 *
 * `look` compares with the file; that it cannot be read is kept as `problem` and never thrown, and the last good state goes on
 * serving until it is too old. A lock is waited for once; while it lasts, every further statement fails at once, so
 * that the event loop stands still for one busy timeout and not for one at every request.
 */
import { describeFailure, failureCode, identityOf, isBusy, setBusyTimeout } from './database.ts';
import { MissingFile, openReader, prepareStatements, UnreadableSchema } from './reader.ts';
import type { Reader, Statements, Versions } from './reader.ts';

/** What a look has found out; everything that is not named is as it was. */
export interface Change {
  /** Memberships may be others. */
  readonly members: boolean;
  /** Grants may be others. */
  readonly models: boolean;
}

export interface FreshnessOptions {
  readonly path: string;
  readonly busyTimeoutMs: number;
  readonly maxStaleMs: number;
  readonly now: () => number;
  readonly onChange: (change: Change) => void;
}

/** Two looks within this time are one: 2 µs of work, a thousand times a second at most. */
const LOOK_EVERY_MS = 1;
/** After a wait for a lock, and after a file that could not be opened, no second attempt for this long. */
const PATIENCE_MS = 50;

interface Current {
  readonly reader: Reader;
  readonly statements: Statements;
  readonly dataVersion: number;
  readonly schemaVersion: number;
  readonly versions: Versions | undefined;
  readonly written: string;
}

/** What reads of the file go through; a command's transaction is one too. */
export type Source = Pick<Freshness, 'generation' | 'goodAt' | 'problem' | 'read'>;

/** Anything else is a mistake of ours, and hiding it behind "the file cannot be read" would cost somebody a day. */
const isOutage = (error: unknown): boolean =>
  error instanceof MissingFile ||
  error instanceof UnreadableSchema ||
  failureCode(error).startsWith('SQLITE_') ||
  (error instanceof Error && 'syscall' in error);

export class Freshness {
  /** Grows with every commit of another connection: what was read before it must be read again. */
  generation = 0;
  /** Why the file cannot be read, or undefined while it can. */
  problem: string | undefined = 'the database has not been read yet';
  /** When the file last agreed, in milliseconds of `now`. */
  goodAt = Number.NEGATIVE_INFINITY;
  /** Grows when another file may stand at the path, so that it may have to be initialized. */
  file = 0;
  /** Objects of ours that the file lacks, as last seen; undefined while no file was seen. */
  missing: readonly string[] | undefined;
  /** How often reading failed, by SQLite's code: the file is away, locked, foreign or damaged. */
  readonly errors = new Map<string, number>();

  readonly #options: FreshnessOptions;
  #current: Current | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #retryAt = Number.NEGATIVE_INFINITY;
  #patient = true;
  #inode: string | undefined;

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** May the last good state be served? */
  get isUsable(): boolean {
    return this.#options.now() - this.goodAt <= this.#options.maxStaleMs;
  }

  /** Is the trouble only that another process holds the lock? */
  get isLocked(): boolean {
    return this.problem !== undefined && this.#current !== undefined;
  }

  /** Compares with the file, at most once a millisecond. */
  look(): void {
    const now = this.#options.now();
    if (now - this.#lookedAt < LOOK_EVERY_MS) return;
    // opening a file costs too much to try it at every request
    if (this.#current === undefined && now < this.#retryAt) return;
    this.#lookedAt = now;
    try {
      this.#current = this.#compare();
      this.goodAt = now;
      this.#succeed(now);
    } catch (error) {
      this.#fail(error, now);
    }
  }

  /** Lets the next look compare, however short the time since the last one; after a write of our own. */
  expire(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY;
    this.#retryAt = Number.NEGATIVE_INFINITY;
  }

  /** @returns what the query answers, or undefined where the file cannot be read now: then `problem` says why */
  read<T>(query: (statements: Statements) => T): { readonly value: T } | undefined {
    if (this.#current === undefined) return undefined;
    try {
      return { value: query(this.#current.statements) };
    } catch (error) {
      this.#fail(error, this.#options.now());
      return undefined;
    }
  }

  close(): void {
    this.#discard();
    this.#retryAt = Number.POSITIVE_INFINITY;
    this.goodAt = Number.NEGATIVE_INFINITY;
    this.problem = 'closed';
  }

  #compare(): Current {
    const identity = identityOf(this.#options.path);
    if (identity === undefined) throw new MissingFile(this.#options.path);
    const current = this.#current;
    if (current === undefined || identity.file !== current.reader.identity.file) return this.#open();
    const dataVersion = current.reader.dataVersion();
    if (dataVersion !== current.dataVersion) return this.#committed(current, dataVersion);
    // written, and yet no commit: another file was copied over this one and carries a counter that was seen before
    if (identity.written === current.written) return current;
    this.#inode = undefined;
    return this.#open();
  }

  /** Another connection has committed: the counters say whether it concerned memberships or grants. */
  #committed(before: Current, dataVersion: number): Current {
    const { reader } = before;
    const schemaVersion = reader.schemaVersion();
    const same = schemaVersion === before.schemaVersion;
    const statements = same ? before.statements : prepareStatements(reader.connection);
    const versions = statements.versions();
    const written = identityOf(this.#options.path)?.written ?? '';
    const counted = same && versions !== undefined && before.versions !== undefined;
    return this.#adopt(
      { reader, statements, dataVersion, schemaVersion, versions, written },
      {
        members: !counted || versions.members !== before.versions.members,
        models: !counted || versions.models !== before.versions.models,
      },
    );
  }

  /** Another file, or the first one: nothing that was read before can be compared with it. */
  #open(): Current {
    // first, because connections of one process to one file share what they know of its WAL companions
    this.#discard();
    const reader = openReader(this.#options.path, this.#patient ? this.#options.busyTimeoutMs : 0);
    if (reader.identity.inode !== this.#inode) this.file++;
    this.#inode = reader.identity.inode;
    try {
      const dataVersion = reader.dataVersion();
      const schemaVersion = reader.schemaVersion();
      const statements = prepareStatements(reader.connection);
      const versions = statements.versions();
      return this.#adopt(
        { reader, statements, dataVersion, schemaVersion, versions, written: reader.identity.written },
        { members: true, models: true },
      );
    } catch (error) {
      reader.connection.close();
      throw error;
    }
  }

  #adopt(current: Current, change: Change): Current {
    this.generation++;
    this.missing = current.statements.schema.missing;
    this.#options.onChange(change);
    return current;
  }

  #succeed(now: number): void {
    if (!this.#patient && now >= this.#retryAt) this.#wait(true);
    this.problem = undefined;
  }

  #fail(error: unknown, now: number): void {
    if (!isOutage(error)) throw error;
    const code = failureCode(error);
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    this.problem = describeFailure(error, this.#options.path);
    this.#retryAt = now + PATIENCE_MS;
    this.#wait(false);
    if (isBusy(error)) return;
    this.#discard();
    if (error instanceof UnreadableSchema) this.missing = error.missing;
    else this.#inode = undefined;
  }

  #discard(): void {
    this.#current?.reader.connection.close();
    this.#current = undefined;
  }

  /** Patient statements wait for a lock; impatient ones fail at once. */
  #wait(patient: boolean): void {
    this.#patient = patient;
    if (this.#current !== undefined) {
      setBusyTimeout(this.#current.reader.connection, patient ? this.#options.busyTimeoutMs : 0);
    }
  }
}
