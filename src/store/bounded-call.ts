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
  until: number;
  /** @param received nothing where the thread has died */
  readonly settle: (received: Received<Answer>) => void;
}

type Received<Message> = { readonly message: Message } | undefined;

const receive = <Message>(port: MessagePort) => receiveMessageOnPort(port) as Received<Message>;

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
    const isLate = () => performance.now() >= (this.#pending[0]?.until ?? Number.POSITIVE_INFINITY);
    if (isLate()) this.#receive();
    return !isLate();
  }

  /**
   * @param answered called with the answer, in time or late, unless the thread dies; must not throw
   * @param queues whether it is asked behind questions that are late, too
   * @returns whether the answer has come in time; else at once false while the thread is not answering
   */
  ask(
    question: Question,
    deadlineMs: number,
    answered: (answer: Answer) => void,
    queues: boolean = false,
  ): Promise<boolean> {
    if (!this.isAnswering && !queues) return Promise.resolve(false);
    const { port, asked } = (this.#line ??= this.#start());
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const deadline = setTimeout(() => {
      this.#receive();
      // a timer may fire a little before its time: what its caller no longer waits for is late from here on
      pending.until = 0;
      resolve(false);
    }, deadlineMs);
    const settle = (received: Received<Answer>): void => {
      clearTimeout(deadline);
      if (received !== undefined) answered(received.message);
      resolve(received !== undefined);
    };
    const pending = { until: performance.now() + deadlineMs, settle };
    this.#pending.push(pending);
    port.postMessage(question);
    Atomics.add(asked, 0, 1);
    Atomics.notify(asked, 0);
    return promise;
  }

  /** What has come already: where the event loop was busy, a deadline is seen before the answer that met it. */
  #receive(): void {
    while (this.#line !== undefined) {
      const received = receive<Answer>(this.#line.port);
      if (received === undefined) return;
      this.#pending.shift()?.settle(received);
    }
  }

  #start(): Line {
    const { port1: port, port2 } = new MessageChannel();
    const line: Line = { port, asked: new Int32Array(new SharedArrayBuffer(4)) };
    const workerData: Line = { port: port2, asked: line.asked };
    const thread = new Worker(this.#entry, { workerData, transferList: [port2] });
    port.on('message', (message: Answer) => this.#pending.shift()?.settle({ message }));
    // the deadline of a question keeps the process alive, not the thread
    thread.unref();
    port.unref();
    // a thread that has died is replaced with the next question; the questions it had stay without an answer
    thread.once('error', () => undefined);
    thread.once('exit', () => {
      const lost = this.#pending;
      this.#line = undefined;
      this.#pending = [];
      for (const { settle } of lost) settle(undefined);
    });
    return line;
  }
}

/** The thread's side: answers one question after the other, and never returns. */
export function answerCalls({ port, asked }: Line, answer: (question: unknown) => unknown): never {
  for (let done = 0; ;) {
    Atomics.wait(asked, 0, done);
    const received = receive(port);
    if (received === undefined) continue;
    port.postMessage(answer(received.message));
    done += 1;
  }
}
