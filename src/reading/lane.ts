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

interface Waiting extends Work {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Half of V8's own default: most of what is read lives to the end. */
const YOUNG_MB = 24;

export class Lane<Answer> {
  readonly #options: LaneOptions;
  /** The first payer is next; within a payer, what came first. */
  readonly #queues = new Map<string, Waiting[]>();
  #current: Waiting | undefined;
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
    return new Promise<Answer>((resolve, reject) => {
      const waiting: Waiting = { ...work, resolve: resolve as Waiting['resolve'], reject };
      if (this.#isClosed) return reject(new GatewayError('draining'));
      if (work.wantedBy?.destroyed === true) return reject(new ClientGone());
      const queue = this.#queues.get(work.payer);
      if (queue === undefined) this.#queues.set(work.payer, [waiting]);
      else queue.push(waiting);
      work.wantedBy?.once('close', () => this.#leave(waiting));
      this.#next();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const rest = [...this.#queues.values()].flat();
    this.#queues.clear();
    for (const waiting of rest) waiting.reject(new GatewayError('draining'));
    await this.#fail(new GatewayError('draining'));
  }

  #next(): void {
    while (this.#current === undefined) {
      const waiting = this.#take();
      if (waiting === undefined) {
        if (this.#options.isShortLived) void this.#endThread();
        return;
      }
      this.#current = waiting;
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

  /** Takes the work whose turn it is; its payer has the last turn then. */
  #take(): Waiting | undefined {
    for (const [payer, queue] of this.#queues) {
      const first = queue.shift();
      this.#queues.delete(payer);
      if (queue.length > 0) this.#queues.set(payer, queue);
      if (first !== undefined) return first;
    }
    return undefined;
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
      void this.#fail(
        isFull ? exhausted(`${heapMb} MB of memory`) : new GatewayError('reading_unavailable', { cause }),
      );
    });
    on('exit', () => void this.#fail(new GatewayError('reading_unavailable')));
    return thread;
  }

  /** What the start of a thread takes is not the work's. */
  #setDeadline(): void {
    const { deadlineMs, exhausted } = this.#options;
    this.#deadline = setTimeout(() => void this.#fail(exhausted(`${deadlineMs / 1000} s`)), deadlineMs).unref();
  }

  #settle(settle: (waiting: Waiting) => void): void {
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

  #leave(waiting: Waiting): void {
    const queue = this.#queues.get(waiting.payer);
    const place = queue?.indexOf(waiting) ?? -1;
    if (place >= 0) {
      queue?.splice(place, 1);
      waiting.reject(new ClientGone());
      // long work for a client that is gone would keep others waiting, and its bytes in memory
    } else if (waiting === this.#current && this.#options.isShortLived) void this.#fail(new ClientGone());
  }
}

/** What a thread answers: a value, or the error of the table that it failed with. */
export type Answered<T> =
  { readonly value: T } | { readonly failure: { readonly code: ErrorCode; readonly options: { detail?: string } } };

/** Does the work of a thread, and makes of its failure what can be sent. */
export async function answerAs<T>(work: () => T | Promise<T>): Promise<Answered<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const { code, detail } = error;
    return { failure: { code, options: detail === undefined ? {} : { detail } } };
  }
}

export const toError = ({ code, options }: { readonly code: ErrorCode; readonly options: object }): GatewayError =>
  new GatewayError(code, options);
