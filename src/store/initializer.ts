/** Has the thread make what the file lacks, once for each file, and says what became of it. */
import type { Initialization, Linked, Organization } from './initialize.ts';
import type { WriteFailure } from './file-questions.ts';
import type { ThreadedFile } from './threaded-file.ts';
import type { WriteFailures } from './write-failures.ts';

export interface InitializerOptions {
  readonly file: ThreadedFile;
  readonly writes: WriteFailures;
  readonly organization: Organization | undefined;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
}

/** An incomplete file is tried again this often. */
const INITIALIZE_EVERY_MS = 5_000;
/** Ids in one line of the log. */
const NAMED = 10;

export class Initializer {
  /** Why nothing could be made, where that is so. */
  obstacle: string | undefined;
  readonly #options: InitializerOptions;
  #initializedFile = 0;
  #initializeAt = Number.NEGATIVE_INFINITY;
  #failed: readonly string[] = [];

  constructor(options: InitializerOptions) {
    this.#options = options;
  }

  /** @returns what the file lacks, each with why it could not be made where that is known */
  missing(): readonly string[] {
    const missing = this.#options.file.status.missing ?? [];
    return missing.map((name) => this.#failed.find((failure) => failure.startsWith(name)) ?? name);
  }

  /** Is there a file that has not been initialized, and is it time to try? */
  isDue(): boolean {
    const { file, now } = this.#options;
    if (file.status.missing === undefined || file.status.file === this.#initializedFile) return false;
    return now() >= this.#initializeAt;
  }

  /** After a look. Once for each file: what an operator removes from it later is theirs to remove. */
  async follow(busyTimeoutMs: number, deadlineMs?: number): Promise<void> {
    const { file, organization, now } = this.#options;
    const { file: number, missing } = file.status;
    if (missing === undefined || !this.isDue()) return;
    this.#initializeAt = now() + INITIALIZE_EVERY_MS;
    await file.ask({ kind: 'initialize', organization, busyTimeoutMs }, deadlineMs, ({ value, failure }) => {
      // what the thread has made, undefined where nothing was missing
      if (failure === undefined) this.#reportInitialized(number, value as Initialization | undefined);
      // the backend's own tables are not there yet: the store says so
      else if (!failure.isBackendMissing) this.#reportObstacle(failure, missing);
    });
  }

  #reportInitialized(number: number, initialization: Initialization | undefined): void {
    const { file, warn } = this.#options;
    this.#initializedFile = number;
    this.obstacle = undefined;
    file.expire();
    if (initialization === undefined) return;
    const { made, failed, linked } = initialization;
    this.#failed = failed;
    const { users, models } = linked;
    if (made.length > 0 || users + models > 0) warn('the policy tables were initialized', { made, users, models });
    this.#reportLeftOut(linked);
    for (const failure of failed) warn('the policy schema stays incomplete', { failure });
  }

  #reportObstacle(failure: WriteFailure, missing: readonly string[]): void {
    const { code, problem } = failure;
    this.#options.writes.note('initialization', failure);
    this.#failed = missing.map((name) => `${name} (not made: ${code})`);
    this.obstacle = `the policy tables could not be made: ${problem}`;
    this.#options.warn('the policy tables could not be initialized', { problem, missing });
  }

  /** What the deployment guide's migration would have linked, too. */
  #reportLeftOut({ usersElsewhere, modelsLeftOut: { unusable, ofUsers } }: Linked): void {
    const { warn } = this.#options;
    const some = (ids: readonly string[]) => ({ count: ids.length, some: ids.slice(0, NAMED) });
    if (unusable.length > 0) warn('models were not linked: their ids would be read as patterns', some(unusable));
    if (ofUsers.length > 0) warn('models were not linked: users who are no admins have made them', some(ofUsers));
    if (usersElsewhere > 0) {
      warn('users were not linked: they belong to another organization', { count: usersElsewhere });
    }
  }
}
