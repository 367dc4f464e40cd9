/**
 * One thread, and the work that waits for it. Payers take turns. A thread that dies takes the work it was at with it, and
 * the next work gets a new one.
 */
import type { Writable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { ClientGone, GatewayError, type ErrorCode } from '../errors.ts';

interface LaneOptions {
  /** It answers each message with one. */
  readonly script: URL;
  readonly workerData?: unknown;
  readonly heapMb: number;
  readonly deadlineMs: number;
  /** What becomes of work that took too much memory, or too long. */
  readonly exhausted: (limit: string) => GatewayError;
  /** Ends the thread as soon as nothing waits: what long work has left behind goes with it. */
  readonly isShortLived: boolean;
}

interface Work {
  readonly payer: string;
  readonly message: unknown;
  readonly transfer?: readonly ArrayBuffer[];
  readonly wantedBy?: Writable;
}

interface Waiting<Answer> extends Work {
  /** A payer has one work in each. */
  readonly turn: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Half of V8's own default: most of what is read lives to the end. */
const YOUNG_MB = 24;

export class Lane<Answer> {
  readonly #options: LaneOptions;
  /** In the order of their turns, and of their coming within a turn. */
  readonly #waiting: Waiting<Answer>[] = [];
  #turn = 0;
  #current: Waiting<Answer> | undefined;
  #thread: Worker | undefined;
  #isOnline = false;
  #deadline: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /**
   * @throws GatewayError `exhausted` of the options; `reading_unavailable` where there is no thread to do it
   * @throws ClientGone where `wantedBy` has closed
   */
  run(work: Work): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    if (this.#isClosed) reject(new GatewayError('draining'));
    else if (work.wantedBy?.destroyed === true) reject(new ClientGone());
    else {
      const last = this.#waiting.findLast(({ payer }) => payer === work.payer);
      const turn = Math.max(this.#turn, last?.turn ?? 0) + 1;
      const waiting = { ...work, turn, resolve, reject };
      this.#waiting.splice(this.#waiting.findLastIndex((one) => one.turn <= turn) + 1, 0, waiting);
      work.wantedBy?.once('close', () => this.#leave(waiting));
      this.#next();
    }
    return promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(new GatewayError('draining'));
    await this.#fail(new GatewayError('draining'));
  }

  #next(): void {
    while (this.#current === undefined) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) {
        if (this.#options.isShortLived) void this.#endThread();
        return;
      }
      this.#current = waiting;
      this.#turn = waiting.turn;
      try {
        this.#thread ??= this.#start();
        this.#thread.postMessage(waiting.message, waiting.transfer ?? []);
        if (this.#isOnline) this.#setDeadline();
      } catch (cause) {
        void this.#endThread();
        this.#current = undefined;
        waiting.reject(new GatewayError('reading_unavailable', { cause }));
      }
    }
  }

  #start(): Worker {
    const { script, workerData, heapMb, exhausted } = this.#options;
    const resourceLimits = { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: YOUNG_MB };
    const thread = new Worker(script, { workerData, resourceLimits, execArgv: [] });
    thread.unref();
    this.#isOnline = false;
    const on = (event: string, act: (value: never) => void) =>
      thread.on(event, (value: unknown) => {
        if (thread === this.#thread) act(value as never);
      });
    on('online', () => {
      this.#isOnline = true;
      this.#setDeadline();
    });
    on('message', (answer) => this.#settle((waiting) => waiting.resolve(answer)));
    on('error', (cause: Error & { code?: string }) => {
      const isFull = cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
      const unavailable = new GatewayError('reading_unavailable', { cause });
      void this.#fail(isFull ? exhausted(`${heapMb} MB of memory`) : unavailable);
    });
    on('exit', () => void this.#fail(new GatewayError('reading_unavailable')));
    return thread;
  }

  /** What the start of a thread takes is not the work's. */
  #setDeadline(): void {
    const { deadlineMs, exhausted } = this.#options;
    this.#deadline = setTimeout(() => void this.#fail(exhausted(`${deadlineMs / 1000} s`)), deadlineMs).unref();
  }

  #settle(settle: (waiting: Waiting<Answer>) => void): void {
    clearTimeout(this.#deadline);
    const waiting = this.#current;
    this.#current = undefined;
    if (waiting !== undefined) settle(waiting);
    this.#next();
  }

  /** Ends the thread with the work that it was at. */
  #fail(error: Error): Promise<unknown> {
    const ended = this.#endThread();
    this.#settle((waiting) => waiting.reject(error));
    return ended;
  }

  #endThread(): Promise<unknown> {
    const thread = this.#thread;
    this.#thread = undefined;
    return thread?.terminate() ?? Promise.resolve();
  }

  #leave(waiting: Waiting<Answer>): void {
    const place = this.#waiting.indexOf(waiting);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      waiting.reject(new ClientGone());
      // long work for a client that is gone would keep others waiting, and its bytes in memory
    } else if (waiting === this.#current && this.#options.isShortLived) void this.#fail(new ClientGone());
  }
}

/** What a thread answers: a value, or the error of the table that it failed with. */
export type Answered<T> =
  { readonly value: T } | { readonly failure: { readonly code: ErrorCode; readonly detail: string | undefined } };

/** Does the work of a thread, and makes of its failure what can be sent. */
export async function answerAs<T>(work: () => T | Promise<T>): Promise<Answered<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const { code, detail } = error;
    return { failure: { code, detail } };
  }
}
