/** A thread for `bounded-call.ts` that takes as long as it is asked to, or ends without an answer. */
import { workerData } from 'node:worker_threads';
import { type Line, answerCalls } from '../../../src/store/bounded-call.ts';

export interface Nap {
  readonly ms: number;
  readonly answer: string;
  readonly dies?: true;
  /** In shared memory: becomes 1 right before the answer. */
  readonly done?: Int32Array<SharedArrayBuffer>;
}

const never = new Int32Array(new SharedArrayBuffer(4));

answerCalls(workerData as Line, (question) => {
  const { ms, answer, dies, done } = question as Nap;
  if (dies === true) throw new Error('as asked');
  Atomics.wait(never, 0, 0, ms);
  if (done !== undefined) {
    Atomics.store(done, 0, 1);
    Atomics.notify(done, 0);
  }
  return answer;
});
