/**
 * Keeps a connection on the file that stands at the path, and knows how old what it saw is. A file that cannot be read is
 * a `problem`, never an error. A lock is waited for once; while it lasts, every further statement fails at once, so that
 * requests wait for one busy timeout together.
 */
import {
  Unreadable,
  describeFailure,
  failureCode,
  identityOf,
  isBusy,
  isDamage,
  isOutage,
  openReader,
  setBusyTimeout,
} from './database.ts';
import type { ModelId } from '../policy/grant.ts';
import { type PointRead, type PointReads, type Source, type Statements, prepareStatements, unread } from './queries.ts';
import { VERSION_TABLE } from './schema.ts';

interface FreshnessOptions {
  readonly path: string;
  readonly busyTimeoutMs: number;
  readonly now: () => number;
  /** After a wait for a lock, and after a file that could not be opened, no second attempt for this long. */
  readonly pauseMs?: number;
}

const PAUSE_MS = 50;
/**
 * So long after a change everything is read once more, whatever the counters say: a connection may run no triggers
 * (`SQLITE_DBCONFIG_ENABLE_TRIGGER`), and some file systems tell the time of a change in seconds.
 */
const DOUBT_AFTER_MS = 1_000;
const PROBE_EVERY_MS = 1_000;

const COUNTED = ['members', 'models'] as const;

type OpenFile = ReturnType<typeof openFile>;

/** @param found called as soon as SQLite has read the file */
function openFile(path: string, busyTimeoutMs: number, found: () => void) {
  return openReader(path, busyTimeoutMs, (connection) => {
    found();
    const statements = prepareStatements(connection);
    return { statements, versions: statements.versions() };
  });
}

export class Freshness implements Source {
  readonly status = unread();
  goodAt = Number.NEGATIVE_INFINITY;

  readonly #options: FreshnessOptions;
  readonly #pauseMs: number;
  #current: OpenFile | undefined;
  #retryAt = Number.NEGATIVE_INFINITY;
  #patient = true;
  #inode: string | undefined;
  #changedAt = Number.NEGATIVE_INFINITY;
  #doubtAt = Number.POSITIVE_INFINITY;
  #probedAt = Number.NEGATIVE_INFINITY;

  constructor(options: FreshnessOptions) {
    this.#options = options;
    this.#pauseMs = options.pauseMs ?? PAUSE_MS;
    this.status.soundAt = options.now();
  }

  get problem(): string | undefined {
    return this.status.problem;
  }

  /** Compares with the file: 10 to 20 µs where nothing is new. @param anew even where it was tried a moment ago */
  look(anew = false): void {
    const now = this.#options.now();
    // opening a file costs too much to try it at every request
    if (!anew && this.#current === undefined && now < this.#retryAt) {
      this.status.failures++;
      return;
    }
    try {
      this.#compare(now);
      this.goodAt = now;
      if (!this.#patient && now >= this.#retryAt) this.#wait(true);
      Object.assign(this.status, { problem: undefined, isLocked: false });
    } catch (error) {
      this.#fail(error, now);
    }
  }

  /** After what a request or the last probe has met. */
  probeDoubted(): void {
    const { unsound, met } = this.status;
    if (unsound !== undefined || met !== undefined) this.probe();
  }

  /** Reads as a request does: a damaged page behind header and counters would be met by every request and by no look. */
  probe(): void {
    const now = this.#options.now();
    if (this.problem !== undefined || now - this.#probedAt < PROBE_EVERY_MS) return;
    this.#probedAt = now;
    const { met, damage } = this.status;
    const isRead = this.use(({ probe }) => probe()) !== undefined;
    if (isRead) Object.assign(this.status, { unsound: undefined, soundAt: now, damage: met ?? damage });
    else if (!this.status.isLocked) this.status.unsound = this.problem;
    this.status.met = undefined;
  }

  read<N extends PointRead>(name: N, key: string) {
    return this.use(({ reads }) => reads[name](key as ModelId) as ReturnType<PointReads[N]>);
  }

  /** @returns what `read` does, or undefined where the file cannot be read now @throws what `read` throws, but for outages */
  use<T>(read: (statements: Statements) => T) {
    if (this.#current === undefined) return undefined;
    try {
      return { value: read(this.#current.statements) };
    } catch (error) {
      const now = this.#options.now();
      this.#fail(error, now);
      if (isDamage(error)) this.status.met = { problem: describeFailure(error, this.#options.path), metAt: now };
      return undefined;
    }
  }

  #compare(now: number): void {
    const before = this.#current;
    const { path } = this.#options;
    const identity = identityOf(path, before?.realPath ?? path);
    if (identity === undefined) throw new Unreadable(`there is no file at ${path}`);
    if (before === undefined || identity.file !== before.identity.file) {
      // first, because connections of one process to one file share what they know of its WAL companions
      this.close();
      this.#open(now, identity.inode);
      return;
    }
    let isCommitted = false;
    try {
      // after the identity: what is written in between is seen the next time
      const dataVersion = before.ask.dataVersion();
      isCommitted = dataVersion !== before.dataVersion;
      if (this.#goOn(before, { ...before, identity, dataVersion }, now)) return;
    } catch (error) {
      // such a connection cannot read what stands there, which a new one may well be able to
      if (isBusy(error) || !isOutage(error)) throw error;
    }
    this.#open(now, identity.inode);
    // only now: while the file is locked, the last good state goes on
    before.connection.close();
    if (!isCommitted) this.status.file++;
  }

  /**
   * Asks the file through what was prepared for `before`.
   * @returns false where nothing stands where it stood: by a commit, or because another file was copied over this one
   */
  #goOn(before: OpenFile, found: OpenFile, now: number): boolean {
    const isCommitted = found.dataVersion !== before.dataVersion;
    // without a commit, by a checkpoint, which has no news, or by a program that is not SQLite
    const isWritten = found.identity.written !== before.identity.written;
    const isDue = now >= this.#doubtAt;
    if (!isCommitted && !isWritten && !isDue && before.identity.isSettled) return true;
    // SQLite reads the file anew while it prepares this statement, and nothing when it runs it
    if (!isCommitted) before.connection.pragma('shrink_memory');
    const versions = before.statements.versions();
    // without counters, everything may be another
    const counted = COUNTED.filter((name) => versions === undefined || versions[name] !== before.versions?.[name]);
    // the counters are random: only a commit of our own triggers leads from one to the next
    const isTrusted = !isDue && (isCommitted || !isWritten);
    if (before.ask.schemaVersion() !== before.schemaVersion) return false;
    if ((!isTrusted || counted.length > 0) && before.ask.layout() !== before.layout) return false;
    if (!isCommitted && counted.length > 0 && versions !== undefined) this.status.file++;
    if (isDue) this.#doubtAt = Number.POSITIVE_INFINITY;
    if (isCommitted || isWritten) this.#changedAt = now;
    if (now - this.#changedAt < DOUBT_AFTER_MS) this.#doubtAt = Math.min(this.#doubtAt, now + DOUBT_AFTER_MS);
    this.#adopt({ ...found, versions }, isTrusted ? counted : COUNTED);
    return true;
  }

  #open(now: number, inode: string): void {
    const opened = openFile(this.#options.path, this.#patient ? this.#options.busyTimeoutMs : 0, () => {
      if (inode !== this.#inode) this.status.file++;
      this.#inode = inode;
    });
    this.#changedAt = now;
    this.#doubtAt = now + DOUBT_AFTER_MS;
    this.#adopt(opened, COUNTED);
  }

  #adopt(current: OpenFile, changed: readonly (typeof COUNTED)[number][]): void {
    this.#current = current;
    this.status.generation++;
    for (const name of changed) this.status.epochs[name]++;
    this.#notice(current.statements.schema.missing);
  }

  /** Who takes the version table away takes everything away, or has put a file here that never had it. */
  #notice(missing: readonly string[]): void {
    const isLost = (objects: readonly string[]): boolean => objects.includes(`table ${VERSION_TABLE.name}`);
    if (this.status.missing !== undefined && isLost(missing) && !isLost(this.status.missing)) this.status.file++;
    this.status.missing = missing;
  }

  #fail(error: unknown, now: number): void {
    if (!isOutage(error)) throw error;
    this.status.failures++;
    const code = failureCode(error);
    this.status.errors.set(code, (this.status.errors.get(code) ?? 0) + 1);
    this.status.problem = describeFailure(error, this.#options.path);
    this.status.isLocked = isBusy(error) && this.#current !== undefined;
    this.#retryAt = now + this.#pauseMs;
    if (this.#pauseMs > 0) this.#wait(false);
    if (isBusy(error)) return;
    this.close();
    if (error instanceof Unreadable && error.missing) this.#notice(error.missing);
    else this.#inode = undefined;
  }

  close(): void {
    this.#current?.connection.close();
    this.#current = undefined;
  }

  /** Patient statements wait for a lock; impatient ones fail at once. */
  #wait(patient: boolean): void {
    this.#patient = patient;
    if (this.#current !== undefined) {
      setBusyTimeout(this.#current.connection, patient ? this.#options.busyTimeoutMs : 0);
    }
  }
}
