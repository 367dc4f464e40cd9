/** Reads answers that list models: short ones here and now, long ones in a thread, so that no other request waits for them. */
import { GatewayError } from '../errors.ts';
import { Lane } from '../reading/lane.ts';
import { providerIdsIn } from './judge.ts';
import { type ListIndex, type ListShape, indexList } from './list-index.ts';

export interface ReadList {
  readonly index: ListIndex;
  /** Of a shape that shows the providers' models: ids that are no presets. */
  readonly providerIds: readonly string[];
}

export interface ListReading {
  /**
   * @param body is copied where a thread reads it
   * @throws Error where the answer cannot be read, or rejects with it
   */
  read(body: Buffer, shape: ListShape): ReadList | Promise<ReadList>;
  close(): Promise<void>;
}

export interface ListRequest {
  readonly shape: ListShape;
  readonly bytes: ArrayBuffer;
}

export type ListAnswer = { readonly list: ReadList } | { readonly problem: string };

/** Of any content, read in some 30 ms; 300 models of a real backend have 340 KB. */
const SHORT_BYTES = 256 * 1024;

export function createListReading(): ListReading {
  const lane = new Lane<ListAnswer>({
    script: new URL('./list-thread.ts', import.meta.url),
    heapMb: 512,
    deadlineMs: 60_000,
    isShortLived: true,
    exhausted: (limit) => new GatewayError('reading_unavailable', { detail: `Reading it took more than ${limit}.` }),
  });

  async function readThere(body: Buffer, shape: ListShape): Promise<ReadList> {
    const bytes = Uint8Array.from(body).buffer;
    const message: ListRequest = { shape, bytes };
    const answer = await lane.run({ payer: shape.name, message, transfer: [bytes] });
    if ('list' in answer) return answer.list;
    throw new Error(answer.problem);
  }

  return {
    read: (body, shape) => (body.length <= SHORT_BYTES ? readList(body, shape) : readThere(body, shape)),
    close: () => lane.close(),
  };
}

/** @throws SyntaxError if the body is not JSON, Error if what should be a list is none */
export function readList(body: Buffer, shape: ListShape): ReadList {
  const index = indexList(body, shape);
  const providerIds = shape.showsProviders === true ? providerIdsIn(JSON.parse(body.toString('utf8'))) : [];
  return { index, providerIds };
}
