/**
 * Questions to another thread, answered before the caller goes on, or after a deadline not at all. SQLite and the file
 * system may stand still for as long as they like: only their own thread does so with them.
 */
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

/** What the thread is started with. */
export interface Line {
  readonly port: MessagePort;
  /** Two counters in shared memory: questions asked, and questions answered. */
  readonly counters: Int32Array<SharedArrayBuffer>;
}

const ASKED = 0;
const ANSWERED = 1;

export class BoundedCaller<Question, Answer> {
  readonly #entry: URL;
  #line: Line | undefined;
  #asked = 0;
  #pending: ((answer: Answer) => void) | undefined;

  /** @param entry the module of the thread, which calls `answerCalls`; it is started with the first question */
  constructor(entry: URL) {
    this.#entry = entry;
  }

  /**
   * Blocks this thread until the answer is there, `deadlineMs` at most.
   * @param answered called with the answer, now or, where it comes late, before the next question is asked
   * @returns whether the thread was free to take the question, and has answered in time
   */
  call(question: Question, deadlineMs: number, answered: (answer: Answer) => void): boolean {
    if (!this.#settle(0)) return false;
    const { port, counters } = (this.#line ??= this.#start());
    port.postMessage(question);
    this.#pending = answered;
    Atomics.store(counters, ASKED, ++this.#asked);
    Atomics.notify(counters, ASKED);
    return this.#settle(deadlineMs);
  }

  /** Does the thread have nothing to answer? */
  isFree(): boolean {
    return this.#settle(0);
  }

  #start(): Line {
    const { port1: port, port2 } = new MessageChannel();
    const counters = new Int32Array(new SharedArrayBuffer(8));
    this.#asked = 0;
    const line: Line = { port, counters };
    const thread = new Worker(this.#entry, {
      workerData: { port: port2, counters } satisfies Line,
      transferList: [port2],
    });
    thread.unref();
    port.unref();
    // a thread that has died is replaced with the next question; the one that it had is answered by nobody
    thread.once('error', () => undefined);
    thread.once('exit', () => {
      if (this.#line !== line) return;
      this.#line = undefined;
      this.#pending = undefined;
    });
    return line;
  }

  /** @returns whether there is no question without an answer; waits for it */
  #settle(deadlineMs: number): boolean {
    const pending = this.#pending;
    if (pending === undefined || this.#line === undefined) return true;
    const { port, counters } = this.#line;
    const until = performance.now() + deadlineMs;
    for (;;) {
      const answered = Atomics.load(counters, ANSWERED);
      if (answered === this.#asked) break;
      const left = until - performance.now();
      if (left <= 0) return false;
      // may wake too early, by the answer before this one
      Atomics.wait(counters, ANSWERED, answered, left);
    }
    this.#pending = undefined;
    const received = receiveMessageOnPort(port) as { readonly message: Answer } | undefined;
    if (received !== undefined) pending(received.message);
    return true;
  }
}

/** The thread's side: answers one question after the other, and never returns. */
export function answerCalls({ port, counters }: Line, answer: (question: unknown) => unknown): never {
  for (let done = 0; ;) {
    Atomics.wait(counters, ASKED, done);
    const received = receiveMessageOnPort(port) as { readonly message: unknown } | undefined;
    done = Atomics.load(counters, ASKED);
    if (received !== undefined) port.postMessage(answer(received.message));
    Atomics.store(counters, ANSWERED, done);
    Atomics.notify(counters, ANSWERED);
  }
}
