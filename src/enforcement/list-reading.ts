/** Reads answers that list models: short ones here and now, long ones in a thread, which runs this file too. */
import { parentPort, workerData } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import { Lane } from '../reading/lane.ts';
import { type ListIndex, type ListShape, indexList } from './list.ts';

type ListRequest = Readonly<{ shape: ListShape; bytes: ArrayBuffer }>;
type ListAnswer = { readonly list: ListIndex } | { readonly problem: string };

/** Of any content, read in some 30 ms; 300 models of a real backend have 340 KB. */
const SHORT_BYTES = 256 * 1024;

const MAX_CACHED_BYTES = 32 * 1024 * 1024;
/** Answers of equal length that are remembered side by side. */
const MAX_ALIKE = 8;

type ReadAnswer = Readonly<{ body: Buffer; index: ListIndex | Promise<ListIndex> }>;

export type ListReading = ReturnType<typeof createListReading>;

/** @param learn gets the providers' ids of each answer that is read anew */
export function createListReading(learn: (providerIds: readonly string[]) => void = () => undefined) {
  const lane = new Lane<ListAnswer>({
    script: new URL(import.meta.url),
    workerData: LIST_THREAD,
    heapMb: 512,
    deadlineMs: 60_000,
    isShortLived: true,
    exhausted: (limit) => new GatewayError('reading_unavailable', { detail: `Reading it took more than ${limit}.` }),
  });
  const known = new LRUCache<string, readonly ReadAnswer[]>({
    maxSize: MAX_CACHED_BYTES,
    sizeCalculation: (answers) => answers.reduce((size, { body }) => size + body.length, 0),
  });

  function learnt(index: ListIndex): ListIndex {
    learn(index.providerIds);
    return index;
  }

  async function readThere(body: Buffer, shape: ListShape): Promise<ListIndex> {
    const bytes = Uint8Array.from(body).buffer;
    const message: ListRequest = { shape, bytes };
    const answer = await lane.run({ payer: shape.name, message, transfer: [bytes] });
    if ('list' in answer) return learnt(answer.list);
    throw new Error(answer.problem);
  }

  return {
    /**
     * Remembers what identical bytes were read to be. Compared whole: a checksum takes ten times as long, and proves less.
     * @throws Error where the answer cannot be read, or rejects with it
     */
    read(body: Buffer, shape: ListShape): ListIndex | Promise<ListIndex> {
      const key = `${shape.name}:${body.length}`;
      const alike = known.get(key) ?? [];
      const same = alike.find((one) => one.body.equals(body));
      if (same !== undefined) return same.index;
      const index = body.length <= SHORT_BYTES ? learnt(indexList(body, shape)) : readThere(body, shape);
      const places = Math.max(1, Math.min(MAX_ALIKE, Math.floor(MAX_CACHED_BYTES / body.length)));
      known.set(key, [{ body, index }, ...alike.slice(0, places - 1)]);
      // Requests that ask meanwhile wait for the same reading; the next one tries again
      if (index instanceof Promise) index.catch(() => known.delete(key));
      return index;
    },
    close: () => lane.close(),
  };
}

const LIST_THREAD = 'lists';

function answerInThread({ shape, bytes }: ListRequest): ListAnswer {
  try {
    return { list: indexList(Buffer.from(bytes), shape) };
  } catch (error) {
    // V8 quotes what it could not read
    if (error instanceof SyntaxError) return { problem: 'the answer is no JSON' };
    return { problem: error instanceof Error ? error.message : 'unknown' };
  }
}

if (workerData === LIST_THREAD) {
  parentPort?.on('message', (request: ListRequest) => parentPort?.postMessage(answerInThread(request)));
}
