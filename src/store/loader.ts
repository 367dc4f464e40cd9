/**
 * Brings into the view what a request asks of it: looks at the file, reads what the caches lack, and enrols a user who
 * is seen for the first time. All of it waits for the thread of the file, never for the event loop.
 */
import { GatewayError } from '../errors.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import type { CachedView } from './cached-view.ts';
import { ROLES_NOT_ENROLLED } from './initialize.ts';
import { type Need, NotLoaded } from './store-view.ts';
import type { ThreadedFile } from './threaded-file.ts';
import type { WriteFailures } from './health.ts';

interface LoaderOptions {
  readonly file: ThreadedFile;
  readonly view: CachedView;
  readonly writes: WriteFailures;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
  /** The organization's id; absent where no user is enrolled. */
  readonly enrolling: string | undefined;
}

/** How often an attempt may turn out to lack something: each time is one question to the thread. */
const ROUNDS = 100;
/** Longest time that an enrolment waits for another process's lock. */
const BUSY_MS = 25;
/** After a failed write no user is enrolled for this long: a read-only file would cost every request an attempt. */
const RETRY_AFTER_MS = 5_000;
const NOTHING: Need = {};

export class Loader {
  readonly #options: LoaderOptions;
  #enrolAt = Number.NEGATIVE_INFINITY;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /** As `Store.load`. */
  load(need: Need = NOTHING): void | Promise<void> {
    const { file, view } = this.#options;
    const looking = file.look();
    if (looking !== undefined) return looking.then(() => this.#bring(need));
    if (view.missing(need).length > 0 || this.#isNew(need.user)) return this.#bring(need);
  }

  /** As `Store.ask`. */
  ask<T>(attempt: () => T | Promise<T>, need: Need = NOTHING): T | Promise<T> {
    const looking = this.#options.file.look();
    return looking === undefined ? this.#begin(attempt, need) : looking.then(() => this.#begin(attempt, need));
  }

  #begin<T>(attempt: () => T | Promise<T>, need: Need): T | Promise<T> {
    return this.#isNew(need.user)
      ? this.#bring(need).then(() => this.#attempt(attempt, need))
      : this.#attempt(attempt, need);
  }

  #attempt<T>(attempt: () => T | Promise<T>, need: Need): T | Promise<T> {
    try {
      const value = attempt();
      return value instanceof Promise ? value.catch((error: unknown) => this.#again(error, attempt, need)) : value;
    } catch (error) {
      return this.#again(error, attempt, need);
    }
  }

  async #again<T>(first: unknown, attempt: () => T | Promise<T>, need: Need): Promise<T> {
    let error = first;
    for (let round = 0; error instanceof NotLoaded && round < ROUNDS; round++) {
      if (round === 0) await this.#bring(need);
      await this.#options.file.load([error.call]);
      try {
        return await attempt();
      } catch (next) {
        error = next;
      }
    }
    throw error instanceof NotLoaded ? new GatewayError('policy_unavailable', { cause: error }) : error;
  }

  /** Until nothing is missing: what is found may name more, organizations their grants and presets their bases. */
  async #bring(need: Need): Promise<void> {
    const { file, view } = this.#options;
    for (let round = 0; round < ROUNDS; round++) {
      const missing = view.missing(need);
      if (missing.length > 0) await file.load(missing);
      else if (need.user === undefined || !(await this.#enrol(need.user))) return;
    }
  }

  /** Is nothing known of the user's memberships, or is there none, so that the user may have to be enrolled? */
  #isNew(user: UserPrincipal | undefined): boolean {
    if (user === undefined) return false;
    const isMember = this.#options.view.hasMembership(user.id);
    return isMember === undefined || (!isMember && this.#mayEnrol(user));
  }

  #mayEnrol({ role }: UserPrincipal): boolean {
    const { enrolling, now } = this.#options;
    return enrolling !== undefined && !ROLES_NOT_ENROLLED.has(role) && now() >= this.#enrolAt;
  }

  /**
   * A row that exists in any organization and in any state means that the user has been decided on. A file that cannot be
   * written costs the membership, never the request.
   * @returns whether a user without any membership has one now
   */
  async #enrol(user: UserPrincipal): Promise<boolean> {
    const { file, view, writes, now, warn, enrolling: organization } = this.#options;
    if (organization === undefined || view.hasMembership(user.id) !== false || !this.#mayEnrol(user)) return false;
    const outcome = await file.ask({ kind: 'enrol', organization, user: user.id, busyTimeoutMs: BUSY_MS });
    const failure = outcome?.failure;
    writes.note('enrolment', failure);
    // several users may have come at once
    if (failure !== undefined && now() >= this.#enrolAt) {
      this.#enrolAt = now() + RETRY_AFTER_MS;
      warn('a new user could not be enrolled', { user: user.id, organization, problem: failure.problem });
    }
    if (outcome?.value !== true) return false;
    file.forget('membershipsOf', user.id);
    view.forgetMemberships(user.id);
    return true;
  }
}
