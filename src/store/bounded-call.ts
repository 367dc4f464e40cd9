/**
 * Questions to another thread, each with a deadline. SQLite and the file system may take as long as they like: only
 * their own thread waits for them.
 */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';

/** What the thread is started with. */
export interface Line {
  readonly port: MessagePort;
  /** In shared memory: how many questions were asked. The thread sleeps on it: that wakes it sooner than an event. */
  readonly asked: Int32Array<SharedArrayBuffer>;
}

interface Pending<Answer> {
  /** In milliseconds of `performance.now`. */
  readonly until: number;
  readonly settle: (answer: Answer) => void;
  /** The thread has died. */
  readonly lose: () => void;
}

export class BoundedCaller<Question, Answer> {
  readonly #entry: URL;
  #line: Line | undefined;
  /** Questions without an answer, the oldest first: the thread answers them in this order. */
  #pending: Pending<Answer>[] = [];

  /** @param entry the module of the thread, which calls `answerCalls`; it is started with the first question */
  constructor(entry: URL) {
    this.#entry = entry;
  }

  /** Does the thread keep its deadlines? While it does not, nothing is asked. */
  get isAnswering(): boolean {
    const isLate = (): boolean => performance.now() >= (this.#pending[0]?.until ?? Number.POSITIVE_INFINITY);
    if (isLate()) this.#receive();
    return !isLate();
  }

  /**
   * @param answered called with the answer, in time or late, unless the thread dies; must not throw
   * @returns whether the answer has come in time; at once false while the thread is not answering
   */
  ask(question: Question, deadlineMs: number, answered: (answer: Answer) => void): Promise<boolean> {
    if (!this.isAnswering) return Promise.resolve(false);
    const { port, asked } = (this.#line ??= this.#start());
    return new Promise((resolve) => {
      const deadline = setTimeout(() => {
        this.#receive();
        resolve(false);
      }, deadlineMs);
      const settle = (answer: Answer): void => {
        clearTimeout(deadline);
        answered(answer);
        resolve(true);
      };
      const lose = (): void => {
        clearTimeout(deadline);
        resolve(false);
      };
      this.#pending.push({ until: performance.now() + deadlineMs, settle, lose });
      port.postMessage(question);
      Atomics.add(asked, 0, 1);
      Atomics.notify(asked, 0);
    });
  }

  /** What has come already: where the event loop was busy, a deadline is seen before the answer that met it. */
  #receive(): void {
    for (let line = this.#line; line !== undefined;) {
      const received = receiveMessageOnPort(line.port) as { readonly message: Answer } | undefined;
      if (received === undefined) return;
      this.#pending.shift()?.settle(received.message);
    }
  }

  #start(): Line {
    const { port1: port, port2 } = new MessageChannel();
    const line: Line = { port, asked: new Int32Array(new SharedArrayBuffer(4)) };
    const thread = new Worker(this.#entry, {
      workerData: { port: port2, asked: line.asked } satisfies Line,
      transferList: [port2],
    });
    port.on('message', (answer: Answer) => this.#pending.shift()?.settle(answer));
    // the deadline of a question keeps the process alive, not the thread
    thread.unref();
    port.unref();
    // a thread that has died is replaced with the next question; the questions it had stay without an answer
    thread.once('error', () => undefined);
    thread.once('exit', () => {
      const lost = this.#pending;
      this.#line = undefined;
      this.#pending = [];
      for (const { lose } of lost) lose();
    });
    return line;
  }
}

/** The thread's side: answers one question after the other, and never returns. */
export function answerCalls({ port, asked }: Line, answer: (question: unknown) => unknown): never {
  for (let done = 0; ;) {
    Atomics.wait(asked, 0, done);
    const received = receiveMessageOnPort(port) as { readonly message: unknown } | undefined;
    if (received === undefined) continue;
    port.postMessage(answer(received.message));
    done += 1;
  }
}
