/** Runs in a thread of its own: reads one answer that lists models after the other. */
import { parentPort } from 'node:worker_threads';
import { type ListAnswer, type ListRequest, readList } from './list-reading.ts';

function answer({ shape, bytes }: ListRequest): ListAnswer {
  try {
    return { list: readList(Buffer.from(bytes), shape) };
  } catch (error) {
    // V8 quotes what it could not read
    if (error instanceof SyntaxError) return { problem: 'the answer is no JSON' };
    return { problem: error instanceof Error ? error.message : 'unknown' };
  }
}

parentPort?.on('message', (request: ListRequest) => parentPort?.postMessage(answer(request)));
