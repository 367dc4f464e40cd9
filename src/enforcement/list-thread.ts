/** Runs in a thread of its own: reads one answer that lists models after the other. */
import { parentPort } from 'node:worker_threads';
import type { ListAnswer, ListRequest } from './list-reading.ts';
import { readList } from './list-reading.ts';
import { SHAPES } from '../openwebui/lists.ts';

function answer({ shape, bytes }: ListRequest): ListAnswer {
  const known = Object.values(SHAPES).find(({ name }) => name === shape);
  if (known === undefined) return { problem: `there is no shape ${shape}` };
  try {
    return { list: readList(Buffer.from(bytes), known) };
  } catch (error) {
    // V8 quotes what it could not read
    if (error instanceof SyntaxError) return { problem: 'the answer is no JSON' };
    return { problem: error instanceof Error ? error.message : 'unknown' };
  }
}

parentPort?.on('message', (request: ListRequest) => parentPort?.postMessage(answer(request)));
