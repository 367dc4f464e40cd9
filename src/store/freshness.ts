/**
 * Keeps a reader on the file that stands at the path, and knows how old what it saw is. A file that cannot be read is a
 * `problem`, never an error. A lock is waited for once; while it lasts, every further statement fails at once, so that
 * requests wait for one busy timeout together.
 */
import {
  MissingFile,
  describeFailure,
  failureCode,
  identityOf,
  isBusy,
  isDamage,
  openReader,
  setBusyTimeout,
} from './database.ts';
import {
  type Change,
  type FileState,
  type Signs,
  EVERYTHING,
  beginState,
  continueState,
  isOutage,
  unlessUnreadable,
} from './file-state.ts';
import { type PointRead, type PointReads, readPoint } from './queries.ts';
import { UnreadableSchema, VERSION_TABLE } from './schema.ts';

interface FreshnessOptions {
  readonly path: string;
  readonly busyTimeoutMs: number;
  readonly now: () => number;
}

/** After a wait for a lock, and after a file that could not be opened, no second attempt for this long. */
const PATIENCE_MS = 50;
/**
 * So long after a change everything is read once more, whatever the counters say: a connection may run no triggers
 * (`SQLITE_DBCONFIG_ENABLE_TRIGGER`), and some file systems tell the time of a change in seconds.
 */
const DOUBT_AFTER_MS = 1_000;

/** A page that a read has met, and when. */
export interface Damage {
  readonly problem: string;
  readonly metAt: number;
}

/** What reads of the file go through. */
export interface Source {
  /** Grows whenever the file may hold something else: what was read before must be read again. */
  readonly generation: number;
  /** Grow where memberships or grants may be others. */
  readonly epochs: { readonly members: number; readonly models: number };
  /** When the file last agreed, in milliseconds of its clock. */
  readonly goodAt: number;
  /** Why the file cannot be read, or undefined while it can. */
  readonly problem: string | undefined;
  /** @returns what the file answers, or undefined where it cannot be read now: then `problem` says why */
  read<N extends PointRead>(
    name: N,
    ...args: Parameters<PointReads[N]>
  ): { readonly value: ReturnType<PointReads[N]> } | undefined;
}

export class Freshness implements Source {
  generation = 0;
  readonly epochs = { members: 0, models: 0 };
  problem: string | undefined = 'the database has not been read yet';
  goodAt = Number.NEGATIVE_INFINITY;
  /** Grows when another file may stand at the path, so that it may have to be initialized. */
  file = 0;
  missing: readonly string[] | undefined;
  /** How often the file could not be read, looks that were not tried again yet included. */
  failures = 0;
  /** What was met last where a page could not be read though the file could be opened. */
  damage: Damage | undefined;
  /** How often reading failed, by SQLite's code: the file is away, locked, foreign or damaged. */
  readonly errors = new Map<string, number>();

  readonly #options: FreshnessOptions;
  #current: FileState | undefined;
  #retryAt = Number.NEGATIVE_INFINITY;
  #patient = true;
  #inode: string | undefined;
  #changedAt = Number.NEGATIVE_INFINITY;
  #doubtAt = Number.POSITIVE_INFINITY;

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** Is the trouble only that another process holds the lock? */
  get isLocked(): boolean {
    return this.problem !== undefined && this.#current !== undefined;
  }

  /** Compares with the file: 10 to 20 µs where nothing is new. */
  look(): void {
    const now = this.#options.now();
    // opening a file costs too much to try it at every request
    if (this.#current === undefined && now < this.#retryAt) {
      this.failures++;
      return;
    }
    try {
      this.#current = this.#compare(now);
      this.goodAt = now;
      this.#succeed(now);
    } catch (error) {
      this.#fail(error, now);
    }
  }

  /** Lets the next look try to open the file; after a write of our own. */
  expire(): void {
    this.#retryAt = Number.NEGATIVE_INFINITY;
  }

  read<N extends PointRead>(
    name: N,
    ...args: Parameters<PointReads[N]>
  ): { readonly value: ReturnType<PointReads[N]> } | undefined {
    if (this.#current === undefined) return undefined;
    try {
      return { value: readPoint(this.#current.statements, name, ...args) };
    } catch (error) {
      const now = this.#options.now();
      this.#fail(error, now);
      if (isDamage(error)) this.damage = { problem: describeFailure(error, this.#options.path), metAt: now };
      return undefined;
    }
  }

  close(): void {
    this.#discard();
    this.#retryAt = Number.POSITIVE_INFINITY;
    this.goodAt = Number.NEGATIVE_INFINITY;
    this.problem = 'closed';
  }

  #compare(now: number): FileState {
    const current = this.#current;
    const { path } = this.#options;
    const identity = identityOf(path, current?.reader.realPath ?? path);
    if (identity === undefined) throw new MissingFile(path);
    if (current === undefined || identity.file !== current.identity.file) {
      // first, because connections of one process to one file share what they know of its WAL companions
      this.#discard();
      return this.#open(now);
    }
    // after the identity: what is written in between is seen the next time
    const dataVersion = unlessUnreadable(() => current.reader.dataVersion());
    if (dataVersion === undefined) return this.#replace(current, now);
    const signs = {
      isCommitted: dataVersion !== current.dataVersion,
      isWritten: identity.written !== current.identity.written,
      isDue: now >= this.#doubtAt,
    };
    const isQuiet = !signs.isCommitted && !signs.isWritten && !signs.isDue && current.identity.isSettled;
    return isQuiet ? current : this.#goOn({ ...current, identity, dataVersion }, signs, now);
  }

  #goOn(before: FileState, signs: Signs, now: number): FileState {
    const continued = continueState(before, signs);
    if (continued === undefined) return this.#replace(before, now, signs);
    if (continued.isReplaced) this.file++;
    if (signs.isDue) this.#doubtAt = Number.POSITIVE_INFINITY;
    if (signs.isCommitted || signs.isWritten) this.#changedAt = now;
    if (now - this.#changedAt < DOUBT_AFTER_MS) this.#doubtAt = Math.min(this.#doubtAt, now + DOUBT_AFTER_MS);
    return this.#adopt({ ...before, versions: continued.versions }, continued.change);
  }

  /** The file is the same one, and nothing in it stands where it stood: by a commit, or because it was copied over. */
  #replace(
    before: FileState,
    now: number,
    { isCommitted }: Pick<Signs, 'isCommitted'> = { isCommitted: false },
  ): FileState {
    const opened = this.#open(now);
    // only now: while the file is locked, the last good state goes on
    before.reader.connection.close();
    if (!isCommitted) this.file++;
    return opened;
  }

  #open(now: number): FileState {
    const reader = openReader(this.#options.path, this.#patient ? this.#options.busyTimeoutMs : 0);
    if (reader.identity.inode !== this.#inode) this.file++;
    this.#inode = reader.identity.inode;
    const state = beginState(reader);
    this.#changedAt = now;
    this.#doubtAt = now + DOUBT_AFTER_MS;
    return this.#adopt(state, EVERYTHING);
  }

  #adopt(current: FileState, change: Change): FileState {
    this.generation++;
    if (change.members) this.epochs.members++;
    if (change.models) this.epochs.models++;
    this.#notice(current.statements.schema.missing);
    return current;
  }

  /** Who takes the version table away takes everything away, or has put a file here that never had it. */
  #notice(missing: readonly string[]): void {
    const isLost = (objects: readonly string[]): boolean => objects.includes(`table ${VERSION_TABLE.name}`);
    if (this.missing !== undefined && isLost(missing) && !isLost(this.missing)) this.file++;
    this.missing = missing;
  }

  #succeed(now: number): void {
    if (!this.#patient && now >= this.#retryAt) this.#wait(true);
    this.problem = undefined;
  }

  #fail(error: unknown, now: number): void {
    if (!isOutage(error)) throw error;
    this.failures++;
    const code = failureCode(error);
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    this.problem = describeFailure(error, this.#options.path);
    this.#retryAt = now + PATIENCE_MS;
    this.#wait(false);
    if (isBusy(error)) return;
    this.#discard();
    if (error instanceof UnreadableSchema) this.#notice(error.missing);
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
