/** Runs in a thread of its own: reads one body after the other, and hands each back with what it says. */
import { platform, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { readRecord } from '../references/body-record.ts';
import { answerAs } from './lane.ts';
import { type ReadAnswer, type ReadRequest, PATIENT } from './reading.ts';

// On Linux a priority is the thread's own (setpriority(2)): on one core, all others come before long bodies
if (workerData === PATIENT && platform() === 'linux') setPriority(10);

parentPort?.on('message', ({ question, bytes, length }: ReadRequest) => {
  void answerAs(() => readRecord(question, Buffer.from(bytes, 0, length))).then((answered) => {
    parentPort?.postMessage({ answered, bytes } satisfies ReadAnswer, [bytes]);
  });
});
