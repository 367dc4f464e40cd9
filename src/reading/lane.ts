/**
 * One thread, and the work that waits for it. Those for whom it works take turns, so that no payer waits behind all that
 * another has sent. A thread that dies takes the work it was at with it, and the next work gets a new one.
 */
import type { Writable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { ClientGone, GatewayError, type ErrorCode } from '../errors.ts';

export interface LaneOptions {
  /** The module that the thread runs; it answers each message with one `Answered`. */
  readonly script: URL;
  readonly workerData?: unknown;
  /** Bound of what the thread may keep at a time. */
  readonly heapMb: number;
  readonly deadlineMs: number;
  /** What becomes of work that took too much memory, or too long. */
  readonly exhausted: (limit: string) => GatewayError;
  /** Ends the thread as soon as nothing waits: what long work has left behind goes with it. */
  readonly isShortLived: boolean;
}

interface Work {
  /** Whose turn it takes. */
  readonly payer: string;
  readonly message: unknown;
  readonly transfer?: readonly ArrayBuffer[];
  /** Once this has closed, the answer is no longer wanted. */
  readonly wantedBy?: Writable;
}

/** What a thread answers: a value, or the failure of the work. Errors of the table cross threads by their code. */
export type Answered<T> =
  { readonly value: T } | { readonly failure: { readonly code: ErrorCode; readonly detail: string | undefined } };

interface Waiting extends Work {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

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
    await this.#dismiss(new GatewayError('draining'));
  }

  #next(): void {
    while (this.#current === undefined) {
      const waiting = this.#take();
      if (waiting === undefined) {
        if (this.#options.isShortLived) void this.#dismiss();
        return;
      }
      this.#begin(waiting);
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

  #begin(waiting: Waiting): void {
    this.#current = waiting;
    try {
      this.#thread ??= this.#start();
      this.#thread.postMessage(waiting.message, waiting.transfer ?? []);
      if (this.#isOnline) this.#setDeadline();
    } catch (cause) {
      void this.#dismiss(new GatewayError('reading_unavailable', { cause }));
    }
  }

  #start(): Worker {
    const { script, workerData, heapMb } = this.#options;
    const resourceLimits = { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: YOUNG_MB };
    const thread = new Worker(script, { workerData, resourceLimits, execArgv: [] });
    thread.unref();
    this.#isOnline = false;
    thread.on('online', () => {
      if (thread !== this.#thread) return;
      this.#isOnline = true;
      this.#setDeadline();
    });
    thread.on('message', (answer: unknown) => this.#settle(thread, (waiting) => waiting.resolve(answer)));
    thread.on('error', (cause: Error & { code?: string }) => {
      const isFull = cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
      const error = isFull
        ? this.#options.exhausted(`${heapMb} MB of memory`)
        : new GatewayError('reading_unavailable', { cause });
      this.#lose(thread, error);
    });
    thread.on('exit', () => this.#lose(thread, new GatewayError('reading_unavailable')));
    return thread;
  }

  #settle(thread: Worker, settle: (waiting: Waiting) => void): void {
    const waiting = this.#current;
    if (thread !== this.#thread || waiting === undefined) return;
    clearTimeout(this.#deadline);
    this.#current = undefined;
    settle(waiting);
    this.#next();
  }

  #lose(thread: Worker, error: GatewayError): void {
    if (thread !== this.#thread) return;
    this.#thread = undefined;
    this.#reject(error);
    this.#next();
  }

  /** What the start of a thread takes is not the work's. */
  #setDeadline(): void {
    this.#deadline = setTimeout(() => this.#expire(), this.#options.deadlineMs).unref();
  }

  #expire(): void {
    void this.#dismiss(this.#options.exhausted(`${this.#options.deadlineMs / 1000} s`));
    this.#next();
  }

  #leave(waiting: Waiting): void {
    const queue = this.#queues.get(waiting.payer);
    const place = queue?.indexOf(waiting) ?? -1;
    if (queue !== undefined && place >= 0) {
      queue.splice(place, 1);
      waiting.reject(new ClientGone());
    } else if (waiting === this.#current && this.#options.isShortLived) {
      // Long work for a client that is gone would keep others waiting, and its bytes in memory
      void this.#dismiss(new ClientGone());
      this.#next();
    }
  }

  /** Ends the thread, and with an error what it was at. */
  #dismiss(error?: Error): Promise<unknown> {
    const thread = this.#thread;
    this.#thread = undefined;
    if (error !== undefined) this.#reject(error);
    return thread?.terminate() ?? Promise.resolve();
  }

  #reject(error: Error): void {
    clearTimeout(this.#deadline);
    const waiting = this.#current;
    this.#current = undefined;
    waiting?.reject(error);
  }
}

/** Half of V8's own default: most of what is read lives to the end. */
const YOUNG_MB = 24;

/** Does the work of a thread, and makes of its failure what can be sent. */
export async function answerAs<T>(work: () => T | Promise<T>): Promise<Answered<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof GatewayError) return { failure: { code: error.code, detail: error.detail } };
    throw error;
  }
}
