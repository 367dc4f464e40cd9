/**
 * Questions to another thread, answered before the caller goes on, or after a deadline not at all. SQLite and the file
 * system may stand still for as long as they like: only their own thread does so with them.
 */
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

/** What the thread is started with. */
export interface Line {
  readonly port: MessagePort;
  /** In shared memory: questions asked and answered, and what is glanced at with what outcome. */
  readonly counters: Int32Array<SharedArrayBuffer>;
  /** The caller's time of a glance. */
  readonly clock: Float64Array<SharedArrayBuffer>;
}

const ASKED = 0;
const ANSWERED = 1;
const GLANCED = 2;
const OUTCOME = 3;
const SAME = 1;
const NEWS = 2;

export class BoundedCaller<Question, Answer> {
  readonly #entry: URL;
  #line: Line | undefined;
  #asked = 0;
  #pending: ((answer: Answer) => void) | typeof NOTHING_TO_RECEIVE | undefined;

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

  /**
   * Asks whether there is news of something, without a message: a third of what a call costs.
   * @param subject a number above 0 that the thread knows
   * @returns undefined where the thread is busy or has not answered in time
   */
  glance(subject: number, now: number, deadlineMs: number): 'same' | 'news' | undefined {
    if (!this.#settle(0)) return undefined;
    const { counters, clock } = (this.#line ??= this.#start());
    clock[0] = now;
    counters[GLANCED] = subject;
    this.#pending = NOTHING_TO_RECEIVE;
    Atomics.store(counters, ASKED, ++this.#asked);
    Atomics.notify(counters, ASKED);
    if (!this.#settle(deadlineMs)) return undefined;
    return counters[OUTCOME] === SAME ? 'same' : 'news';
  }

  /** Does the thread have nothing to answer? */
  isFree(): boolean {
    return this.#settle(0);
  }

  #start(): Line {
    const { port1: port, port2 } = new MessageChannel();
    const memory = new SharedArrayBuffer(24);
    const counters = new Int32Array(memory, 0, 4);
    const clock = new Float64Array(memory, 16, 1);
    this.#asked = 0;
    const line: Line = { port, counters, clock };
    const thread = new Worker(this.#entry, {
      workerData: { port: port2, counters, clock } satisfies Line,
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
    if (pending === NOTHING_TO_RECEIVE) return true;
    const received = receiveMessageOnPort(port) as { readonly message: Answer } | undefined;
    if (received !== undefined) pending(received.message);
    return true;
  }
}

const NOTHING_TO_RECEIVE = 'nothing to receive';

/**
 * The thread's side: answers one question after the other, and never returns.
 * @param hasNews answers a glance
 */
export function answerCalls(
  { port, counters, clock }: Line,
  answer: (question: unknown) => unknown,
  hasNews: (subject: number, now: number) => boolean = () => true,
): never {
  for (let done = 0; ;) {
    Atomics.wait(counters, ASKED, done);
    done = Atomics.load(counters, ASKED);
    const subject = Atomics.exchange(counters, GLANCED, 0);
    if (subject > 0) counters[OUTCOME] = hasNews(subject, clock[0] ?? 0) ? NEWS : SAME;
    else {
      const received = receiveMessageOnPort(port) as { readonly message: unknown } | undefined;
      if (received !== undefined) port.postMessage(answer(received.message));
    }
    Atomics.store(counters, ANSWERED, done);
    Atomics.notify(counters, ANSWERED);
  }
}
