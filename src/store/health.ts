/** What becomes of what is known of the file: it is initialized where it lacks something, and trouble is reported. */
import type { Initialization, Organization } from './initialize.ts';
import { UnreadableSchema } from './schema.ts';
import type { FileStatus } from './source.ts';
import type { ThreadedFile } from './threaded-file.ts';

interface HealthOptions {
  readonly file: ThreadedFile;
  readonly organization: Organization | undefined;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
}

export type StoreHealth = Awaited<ReturnType<FileHealth['describe']>>;

/** A lock that lasts this long is more than a commit, and so is any other trouble. */
export const LONG_LOCK_MS = 1_000;
const INITIALIZE_EVERY_MS = 5_000;
/** How long a write waits while requests are served; and before any is, with all users of a large file to link. */
const SERVING = { busyTimeoutMs: 25, deadlineMs: undefined };
const STARTING = { busyTimeoutMs: 2_000, deadlineMs: 30_000 };
/** A page that only some requests have met, and a failed enrolment, are reported for as long. */
const DAMAGE_TOLD_MS = 60_000;
const ENROLMENT_TOLD_MS = 15 * 60_000;
/** Ids in one line of the log. */
const NAMED = 10;

export class FileHealth {
  isStarting = true;
  readonly #options: HealthOptions;
  #failingSince: number | undefined;
  #isReported = false;
  #initialized = 0;
  #initializeAt = Number.NEGATIVE_INFINITY;
  #obstacle: string | undefined;
  #notMade: readonly string[] = [];
  /** What was reported of the file's status. */
  #damage: FileStatus['damage'];
  #enrolment: FileStatus['enrolment'];

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Acts upon what a look has found. */
  async follow(): Promise<void> {
    const { file, now } = this.#options;
    if (this.#isIncomplete()) await this.#initialize();
    this.#failingSince = file.problem === undefined ? undefined : (this.#failingSince ?? now());
    this.#report();
  }

  /** Has every look failed for so long that it is no commit of another program? */
  isFailingLong(): boolean {
    const { now } = this.#options;
    return this.#failingSince !== undefined && now() - this.#failingSince >= LONG_LOCK_MS;
  }

  noteEnrolment(): void {
    const { enrolment } = this.#options.file.status;
    if (enrolment !== undefined && enrolment.metAt !== this.#enrolment?.metAt) {
      const { user, problem } = enrolment;
      const organization = this.#options.organization?.id;
      this.#options.warn('a new user could not be enrolled', { user, organization, problem });
    }
    this.#enrolment = enrolment;
  }

  async describe() {
    const { file } = this.#options;
    const isDiskFull = (await file.ask({ kind: 'probe' }))?.value === true;
    this.#report();
    const { problem } = file;
    const whole = [problem, this.#obstacle].filter((part) => part !== undefined).join('; ');
    return {
      readable: problem === undefined || this.#isShortLock(),
      /** Since the last successful comparison with the file. */
      ageMs: this.#ageMs(),
      /** Tables, indexes, views and triggers, in words. */
      missing: (file.status.missing ?? []).map((name) => this.#notMade.find((made) => made.startsWith(name)) ?? name),
      /** Why it is not readable, or not whole. */
      problem: problem === undefined ? this.#partialProblem() : whole,
      /** Why no user can be enrolled. */
      writeProblem: this.#writeProblem(isDiskFull),
    };
  }

  #ageMs(): number {
    return this.#options.now() - this.#options.file.goodAt;
  }

  /** Another program is committing, as happens all the time. */
  #isShortLock(): boolean {
    return this.#options.file.isLocked && this.#ageMs() < LONG_LOCK_MS;
  }

  /** A failure and its end are each said once; a lock, only where it lasts. */
  #report(): void {
    const { file, warn } = this.#options;
    const { problem } = file;
    const { damage } = file.status;
    if (problem === undefined && this.#isReported) {
      this.#isReported = false;
      warn('the policy database is readable again', {});
    } else if (problem !== undefined && !this.#isReported && !this.#isShortLock()) {
      this.#isReported = true;
      warn('the policy database cannot be read', { problem });
    }
    if (problem !== undefined) return;
    if (damage !== undefined && damage.metAt !== this.#damage?.metAt && this.#partialProblem() === undefined) {
      warn('a part of the policy database cannot be read', { problem: damage.problem });
    }
    this.#damage = damage;
  }

  /** A page that only some requests have met. */
  #partialProblem(): string | undefined {
    if (this.#damage === undefined || this.#options.now() - this.#damage.metAt > DAMAGE_TOLD_MS) return undefined;
    return `a part of the database cannot be read: ${this.#damage.problem}`;
  }

  #writeProblem(isDiskFull: boolean): string | undefined {
    const { enrolment } = this.#options.file.status;
    const sinceMs = this.#options.now() - (enrolment?.metAt ?? Number.NEGATIVE_INFINITY);
    // a lock is over when the user comes again
    if (enrolment?.isLocked === false && sinceMs < ENROLMENT_TOLD_MS) {
      return `a new user could not be enrolled ${Math.round(sinceMs / 1_000)} s ago: ${enrolment.problem}`;
    }
    return isDiskFull ? 'the disk is full: nothing can be written into the database' : undefined;
  }

  #isIncomplete(): boolean {
    const { file, missing } = this.#options.file.status;
    return missing !== undefined && file !== this.#initialized && this.#options.now() >= this.#initializeAt;
  }

  /** Once for each file: what an operator removes from it later is theirs to remove. */
  async #initialize(): Promise<void> {
    const { file, organization, now, warn } = this.#options;
    const { file: number, missing = [] } = file.status;
    const { busyTimeoutMs, deadlineMs } = this.isStarting ? STARTING : SERVING;
    this.#initializeAt = now() + INITIALIZE_EVERY_MS;
    await file.ask({ kind: 'initialize', organization, busyTimeoutMs }, deadlineMs, ({ value, failure }) => {
      if (failure === undefined) {
        this.#initialized = number;
        this.#obstacle = undefined;
        // undefined where nothing was missing
        if (value !== undefined) this.#reportMade(value as Initialization);
      } else if (failure.code !== UnreadableSchema.name) {
        const { code, problem } = failure;
        this.#notMade = missing.map((name) => `${name} (not made: ${code})`);
        this.#obstacle = `the policy tables could not be made: ${problem}`;
        warn('the policy tables could not be initialized', { problem, missing });
      }
    });
  }

  #reportMade({ made, failed, linked }: Initialization): void {
    const { warn } = this.#options;
    const { users, models, usersElsewhere, modelsLeftOut } = linked;
    const { unusable, ofUsers } = modelsLeftOut;
    const warnOf = (ids: readonly string[], why: string) =>
      ids.length > 0 && warn(`models were not linked: ${why}`, { count: ids.length, some: ids.slice(0, NAMED) });
    this.#notMade = failed;
    if (made.length > 0 || users + models > 0) warn('the policy tables were initialized', { made, users, models });
    // what the deployment guide's migration would have linked, too
    warnOf(unusable, 'their ids would be read as patterns');
    warnOf(ofUsers, 'users who are no admins have made them');
    if (usersElsewhere > 0) {
      warn('users were not linked: they belong to another organization', { count: usersElsewhere });
    }
    for (const failure of failed) warn('the policy schema stays incomplete', { failure });
  }
}
