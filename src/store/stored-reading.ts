/**
 * Reads what stored objects name in threads of their own: a chat may be long, and the file locked. Long chats have a
 * thread for themselves, so that no user's next message waits for them.
 */
import { GatewayError } from '../errors.ts';
import { type Answered, Lane } from '../reading/lane.ts';
import type { StoredReferences } from './store-view.ts';
import type { StoredReader } from './stored-references.ts';

export interface StoredReading extends StoredReferences {
  close(): Promise<void>;
}

type StoredQuery = Exclude<keyof StoredReader, 'sizeOf'>;

export interface StoredRequest {
  readonly query: StoredQuery;
  readonly parameters: readonly unknown[];
  readonly isLongAllowed: boolean;
}

/** Answered instead of reading a chat that takes its time. */
export const LONG = 'long';

const SCRIPT = new URL('./stored-thread.ts', import.meta.url);

/** @param path of the backend's file, which need not be there yet */
export function createStoredReading(path: string): StoredReading {
  const workerData = path;
  const short = new Lane<Answered<unknown>>({
    ...{ script: SCRIPT, workerData, heapMb: 64, deadlineMs: 3_000, isShortLived: false },
    exhausted: () => new GatewayError('policy_unavailable'),
  });
  const long = new Lane<Answered<unknown>>({
    ...{ script: SCRIPT, workerData, heapMb: 256, deadlineMs: 30_000, isShortLived: true },
    exhausted: (limit) => new GatewayError('chat_too_complex', { detail: `Reading it took more than ${limit}.` }),
  });

  async function ask<Query extends StoredQuery>(
    query: Query,
    parameters: Parameters<StoredReader[Query]>,
    payer = '',
  ): Promise<ReturnType<StoredReader[Query]>> {
    const request = { query, parameters };
    const first = await short.run({ payer, message: { ...request, isLongAllowed: false } satisfies StoredRequest });
    const isLong = 'value' in first && first.value === LONG;
    const answer = isLong ? await long.run({ payer, message: { ...request, isLongAllowed: true } }) : first;
    if ('value' in answer) return answer.value as ReturnType<StoredReader[Query]>;
    const { code, detail } = answer.failure;
    throw new GatewayError(code, detail === undefined ? {} : { detail });
  }

  return {
    chat: (id, places, payer) => ask('chat', [id, places], payer),
    ofTimers: (ids) => ask('ofTimers', [ids]),
    ofChannelMessage: (id) => ask('ofChannelMessage', [id]),
    ofAutomation: (id) => ask('ofAutomation', [id]),
    ofPresetVersion: (id) => ask('ofPresetVersion', [id]),
    close: async () => void (await Promise.all([short.close(), long.close()])),
  };
}
