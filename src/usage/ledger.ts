/**
 * The ledger as requests see it: what a call uses is written down before the call leaves, and before its answer ends. One
 * thread writes; whatever comes while it commits is the next commit. The database of `createLedger` may be another one.
 */
import { randomUUID } from 'node:crypto';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { PostgresAddress } from '../config/postgres-url.ts';
import { GatewayError } from '../errors.ts';
import { BoundedCaller } from '../store/bounded-call.ts';
import { type Admission, type Call, type Charge, type Ending, type Opening, type Settled, unanswered } from './call.ts';
import type { LedgerAnswer, LedgerQuestion, Move, MoveResult } from './ledger-thread.ts';
import { remedyFor } from './remedy.ts';
import { firstIdOf } from './statements.ts';

type Warn = (message: string, fields: Record<string, unknown>) => void;

interface LedgerOptions {
  /** Of the file; on PostgreSQL its URL without password, for sentences. */
  readonly path: string;
  /** Undefined for a file of SQLite. */
  readonly postgres?: PostgresAddress | undefined;
  /** How long calls are kept one by one. */
  readonly keepMs: number;
  /** `pass`: calls go on while nothing can be written; what they use is in the log until it can be. */
  readonly whenDown: 'refuse' | 'pass';
  readonly warn: Warn;
  /** What a call waits for its acknowledgement. */
  readonly patienceMs?: number;
  readonly committed?: (durationMs: number) => void;
}

/** What the door and the front door ask of it. */
export type Ledger = Pick<ThreadedLedger, keyof ThreadedLedger>;

const PATIENCE_MS = 2_000;
const RETRY_MS = 50;
const MOST_MOVES = 500;
/** A database's own wait is shorter; a file system may hang for longer. */
const ANSWER_MS = 10_000;
const BEAT_MS = 5_000;
const TURN_MS = 10;
/** What waits while the file is down; beyond it the log alone has what calls use. */
const MOST_WAITING = 20_000;

interface Waiting {
  readonly move: Move;
  readonly settle: (value: unknown) => void;
  readonly fail: (error: unknown) => void;
  isDone: boolean;
}

/** One thread for all ledgers of a process: a gate has one, tests have many. */
const thread = new BoundedCaller<LedgerQuestion, LedgerAnswer>(new URL('./ledger-thread.ts', import.meta.url));

export const createLedger = (options: LedgerOptions): Ledger => new ThreadedLedger(options);

class ThreadedLedger {
  readonly instance = randomUUID();
  readonly #options: LedgerOptions;
  readonly #place: Pick<LedgerQuestion, 'file' | 'postgres'>;
  readonly #waiting: Waiting[] = [];
  /** Ids of the calls that it has opened and that have no end yet. */
  readonly #running = new Set<string>();
  #flushing: Promise<void> | undefined;
  #failure: { readonly problem: string; readonly remedy: string; readonly since: number } | undefined;
  #counts = { open: 0, interrupted: 0 };
  #isClosed = false;
  readonly #beats: NodeJS.Timeout;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#place = { file: options.path, postgres: options.postgres };
    this.#beats = setInterval(() => void this.beat().catch(() => undefined), BEAT_MS).unref();
    void this.beat().catch(() => undefined);
  }

  /** Why nothing can be written, what to do about it, and for how long that has been so, in milliseconds. */
  get problem(): { readonly problem: string; readonly remedy: string; readonly forMs: number } | undefined {
    if (this.#failure === undefined) return undefined;
    const { since, ...failure } = this.#failure;
    return { ...failure, forMs: performance.now() - since };
  }

  get counts() {
    return { ...this.#counts, backlog: this.#waiting.length };
  }

  /**
   * Writes that the call begins. @returns whether it may; `unwritten` where nothing could be written and calls go on then
   * @throws GatewayError `ledger_unavailable` (503) where nothing can be written
   */
  async open(call: Call, admission: Admission): Promise<Opening | { readonly kind: 'unwritten' }> {
    const { whenDown } = this.#options;
    const opened = this.#ask('open', [call, admission]);
    const found = await this.#inTime(opened).catch((error: unknown) => {
      // what is lost of it is in the log
      if (whenDown === 'refuse') throw error;
    });
    if (found?.kind === 'opened') this.#running.add(call.id);
    if (found !== undefined) return found;
    if (whenDown === 'pass') return { kind: 'unwritten' };
    // it may still be written, and then nothing has run
    void opened.then(() => this.#ask('settle', [call, unanswered('failed'), []])).catch(ignore);
    throw new GatewayError('ledger_unavailable', { cause: this.#failure?.problem });
  }

  /** @returns the first of these budgets that has nothing left; none where that cannot be seen: the call itself is refused then */
  usedUp = (...of: Of<'usedUp'>) => this.#seen('usedUp', of);
  /** An organization's key with a host, as it is stored, or null where it has none. @returns undefined where that cannot be seen */
  sealedKeyOf = (...of: Of<'sealedKey'>) => this.#seen('sealedKey', of);
  /** @returns what is used of each of these budgets; undefined where that cannot be seen in time */
  uses = (...of: Of<'uses'>) => this.#seen('uses', of);

  /** By what the provider can be asked later for what the call has used. Does not wait. */
  note(id: string, generationId: string): void {
    void this.#ask('note', [id, generationId]).catch(ignore);
  }

  /** Writes what the call has used. @returns undefined where that could not be written in time: until it is, the log has it */
  async settle(call: Call, ending: Ending, charges: readonly Charge[]): Promise<Settled | undefined> {
    this.#running.delete(call.id);
    try {
      const settled = await this.#inTime(this.#ask('settle', [call, ending, charges]));
      if (settled === undefined) this.#options.warn(NOT_YET, { usage: [call, ending] });
      return settled;
    } catch {
      // the log has it
      return undefined;
    }
  }

  /** @returns undefined where that cannot be written in time: it will be later */
  resolve = (...of: Of<'resolve'>): Promise<Settled | undefined> => this.#inTime(this.#ask('resolve', of));
  /** @returns none while the file cannot be read */
  async unresolved(most: number): Promise<MoveResult<'unresolved'>> {
    return this.#failure === undefined ? ((await this.#inTime(this.#ask('unresolved', [most]))) ?? []) : [];
  }
  tried = (id: string): Promise<void> => this.#inTime(this.#ask('tried', [id]));
  /** @returns undefined where the file cannot be read in time */
  sums = (): Promise<MoveResult<'sums'> | undefined> => this.#inTime(this.#ask('sums', []));
  learnPrices = (...of: Of<'learnPrices'>): Promise<unknown> => this.#ask('learnPrices', of);

  /** A sign of life, with which calls of instances that have none become interrupted. */
  async beat(): Promise<void> {
    const now = Date.now();
    this.#counts = await this.#ask('beat', [this.instance, now]);
    await this.#ask('forget', [firstIdOf(now - this.#options.keepMs)]);
  }

  /**
   * Writes what waits, for as long as a call would wait, and says the rest in the log. Calls that were cut come to their end
   * in the next turns of the event loop; what is open then becomes interrupted.
   */
  async close(): Promise<void> {
    clearInterval(this.#beats);
    const { patienceMs = PATIENCE_MS } = this.#options;
    const until = performance.now() + patienceMs;
    while (this.#running.size > 0 && performance.now() < until) await sleep(TURN_MS);
    void this.#ask('leave', [this.instance]).catch(ignore);
    // nothing else may keep the process alive until then
    const timer = new AbortController();
    await Promise.race([this.#flushing, sleep(patienceMs, undefined, timer)]).finally(() => timer.abort());
    this.#isClosed = true;
    for (const { move } of this.#waiting.splice(0)) this.#lost(move);
    await thread.ask({ ...this.#place, moves: [], isLast: true }, patienceMs, ignore);
  }

  #ask<N extends Move['kind']>(kind: N, of: Of<N>): Promise<MoveResult<N>> {
    const { promise, resolve, reject } = Promise.withResolvers<MoveResult<N>>();
    const move = { kind, of } as unknown as Move;
    if (this.#isClosed || this.#waiting.length >= MOST_WAITING) {
      this.#lost(move);
      reject(new GatewayError('ledger_unavailable'));
      return promise;
    }
    this.#waiting.push({ move, settle: (value) => resolve(value as MoveResult<N>), fail: reject, isDone: false });
    this.#flushing ??= this.#flush().finally(() => (this.#flushing = undefined));
    return promise;
  }

  #seen<N extends Move['kind']>(kind: N, of: Of<N>): Promise<MoveResult<N> | undefined> {
    return this.#inTime(this.#ask(kind, of)).catch(() => undefined);
  }

  /** @returns undefined where there is no answer for so long as a call waits, since the file has not been written */
  async #inTime<T>(asked: Promise<T>): Promise<T | undefined> {
    const { patienceMs = PATIENCE_MS } = this.#options;
    const waitedMs = this.problem?.forMs ?? 0;
    asked.catch(ignore);
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(late.resolve, Math.max(RETRY_MS, patienceMs - waitedMs), undefined);
    return Promise.race([asked, late.promise]).finally(() => clearTimeout(timer));
  }

  async #flush(): Promise<void> {
    // what has come in this turn of the event loop goes together
    await setImmediate();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, MOST_MOVES);
      const startedAt = performance.now();
      await this.#commit(batch);
      this.#waiting.splice(0, this.#waiting.length, ...this.#waiting.filter(({ isDone }) => !isDone));
      if (batch.every(({ isDone }) => isDone)) this.#options.committed?.(performance.now() - startedAt);
      else await sleep(RETRY_MS, undefined, { ref: false });
      if (this.#isClosed) return;
    }
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    const question = { ...this.#place, moves: batch.map(({ move }) => move), isLast: false };
    const isInTime = await thread.ask(question, ANSWER_MS, (answer) => this.#take(batch, answer));
    if (!isInTime) this.#fails({ code: 'NO_ANSWER', failure: SILENT });
  }

  #take(batch: readonly Waiting[], answer: LedgerAnswer): void {
    if ('failure' in answer) return this.#fails(answer);
    if (answer.isNew)
      this.#options.warn('usage.db was deleted or replaced: a new one goes on', { path: this.#options.path });
    if (this.#failure !== undefined) this.#options.warn('the ledger can be written again', {});
    this.#failure = undefined;
    batch.forEach((waiting, at) => {
      const result = answer.results[at];
      if (waiting.isDone || result === undefined) return;
      waiting.isDone = true;
      if ('value' in result) return waiting.settle(result.value);
      this.#options.warn('usage could not be written: this is a bug', { problem: result.mistake });
      this.#lost(waiting.move);
      waiting.fail(new GatewayError('internal', { cause: result.mistake }));
    });
  }

  #fails({ failure: problem, code }: Extract<LedgerAnswer, { failure: string }>): void {
    if (this.#failure === undefined) this.#options.warn('the ledger cannot be written', { problem });
    const remedy = remedyFor(code, this.#place.postgres);
    this.#failure = { problem, remedy, since: this.#failure?.since ?? performance.now() };
  }

  /** What is in no file is in the log. */
  #lost(move: Move): void {
    if (move.kind === 'settle') this.#options.warn('usage that is in no ledger', { usage: move.of.slice(0, 2) });
  }
}

type Of<N extends Move['kind']> = Extract<Move, { kind: N }>['of'];

const SILENT = 'NO_ANSWER: the database of the ledger, or the file system below it, does not answer';
/** A process that is killed now would take it along. */
const NOT_YET = 'usage that the ledger does not have yet';

const ignore = (): void => undefined;
