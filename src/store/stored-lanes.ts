/** What both engines have in common where they read stored objects: lanes for short and long chats, and bounds. */
import { GatewayError } from '../errors.ts';
import { type Answered, Lane } from '../reading/lane.ts';
import { boundRecord } from '../references/bounds.ts';
import { MANY_ROWS } from './stored-references.ts';

/** A chat up to here is read in some 10 ms. */
const SHORT_BYTES = 1_000_000;
/** Longer chats cannot be received through the gate either (`MODELGATE_MAX_BODY`). */
const LONGEST_BYTES = 128_000_000;

const tooComplex = (detail: string | undefined) => new GatewayError('chat_too_complex', { detail });

/** @param thread the module that reads, and what tells it that it is to */
export function createStoredLanes(
  thread: { readonly script: URL; readonly workerData: Readonly<Record<string, unknown>> },
  longHeapMb: number,
) {
  const short = new Lane<Answered<unknown>>({
    ...{ ...thread, heapMb: 64, deadlineMs: 3_000, isShortLived: false },
    exhausted: () => new GatewayError('policy_unavailable'),
  });
  const long = new Lane<Answered<unknown>>({
    ...{ ...thread, heapMb: longHeapMb, deadlineMs: 30_000, isShortLived: true },
    exhausted: (limit) => tooComplex(`Reading it took more than ${limit}.`),
  });
  return {
    /** @param payer takes turns with others @throws GatewayError that the thread threw, or that it was exhausted */
    async read(message: unknown, { isLong = false, payer = '' } = {}): Promise<unknown> {
      const answer = await (isLong ? long : short).run({ payer, message });
      if ('value' in answer) return answer.value;
      const { code, detail } = answer.failure;
      throw new GatewayError(code, { detail });
    },
    close: async () => void (await Promise.all([short.close(), long.close()])),
  };
}

/** @throws GatewayError `chat_too_complex` for a chat that is not read at all */
export function isLongChat({ bytes, rows }: { readonly bytes: number; readonly rows: number }): boolean {
  if (bytes > LONGEST_BYTES) throw tooComplex(`It has ${Math.round(bytes / 1e6)} MB. Delete parts of it.`);
  return bytes > SHORT_BYTES || rows >= MANY_ROWS;
}

/** @returns what `read` does @throws GatewayError `chat_too_complex` where that is too much for a record */
export function readBounded(read: () => unknown): unknown {
  try {
    const value = read();
    boundRecord(value);
    return value;
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'body_too_complex') throw tooComplex(error.detail);
    throw error;
  }
}
