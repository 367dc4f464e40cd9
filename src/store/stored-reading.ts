/**
 * Reads what stored objects name in threads that run this very module: a chat may be long, and the file locked. Long
 * chats have a thread for themselves, so that no user's next message waits for them.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { GatewayError } from '../errors.ts';
import { answerAs } from '../reading/lane.ts';
import { isObject } from '../references/json.ts';
import { Freshness } from './freshness.ts';
import type { Statements } from './queries.ts';
import { createStoredLanes, isLongChat, readBounded } from './stored-lanes.ts';
import { type StoredReader, prepareStoredReferences } from './stored-references.ts';

interface StoredRequest {
  readonly query: StoredQuery;
  readonly parameters: readonly unknown[];
  readonly isLongAllowed: boolean;
}

/** Answered instead of reading a chat that takes its time. */
const LONG = 'long';

type StoredQuery = Exclude<keyof StoredReader, 'sizeOf'>;
export type StoredReading = ReturnType<typeof createStoredReading>;

/** @param path of the backend's file, which need not be there yet @returns what rejects with `policy_unavailable` */
export function createStoredReading(path: string) {
  const lanes = createStoredLanes({ script: new URL(import.meta.url), workerData: { stored: path } }, 256);

  async function ask<Query extends StoredQuery>(
    query: Query,
    parameters: Parameters<StoredReader[Query]>,
    payer = '',
  ): Promise<ReturnType<StoredReader[Query]>> {
    const request = (isLongAllowed: boolean) => ({ query, parameters, isLongAllowed }) satisfies StoredRequest;
    const first = await lanes.read(request(false), { payer });
    const value = first === LONG ? await lanes.read(request(true), { payer, isLong: true }) : first;
    return value as ReturnType<StoredReader[Query]>;
  }

  return {
    /**
     * @param places the messages that matter, and `CHAT_MODELS` where the chat's own settings do; undefined for everything
     * @param payer takes turns with others @returns undefined where there is no such chat
     * @throws GatewayError `chat_too_complex`
     */
    chat: (id: string, places: readonly string[] | undefined, payer: string) => ask('chat', [id, places], payer),
    ofTimers: (ids: readonly string[]) => ask('ofTimers', [ids]),
    ofChannelMessage: (id: string) => ask('ofChannelMessage', [id]),
    ofAutomation: (id: string) => ask('ofAutomation', [id]),
    ofPresetVersion: (id: string) => ask('ofPresetVersion', [id]),
    close: lanes.close,
  };
}

// What follows runs in the threads alone. They may wait for a lock, since the event loop does not wait with them.

/** As long as a decision waits for the lock of a commit. */
const BUSY_MS = 1_000;
function answerFrom(path: string) {
  const freshness = new Freshness({ path, busyTimeoutMs: BUSY_MS, now: () => performance.now(), pauseMs: 0 });
  const prepared = new WeakMap<Statements, StoredReader>();

  function readerOf(statements: Statements): StoredReader {
    const reader = prepared.get(statements) ?? prepareStoredReferences(statements.connection, statements.schema);
    prepared.set(statements, reader);
    return reader;
  }

  function answer(stored: StoredReader, { query, parameters, isLongAllowed }: StoredRequest): unknown {
    if (query === 'chat') {
      const isLong = isLongChat(stored.sizeOf(String(parameters[0])));
      if (isLong && !isLongAllowed) return LONG;
    }
    return readBounded(() => (stored[query] as (...given: readonly unknown[]) => unknown)(...parameters));
  }

  return (request: StoredRequest): unknown => {
    freshness.look();
    const found = freshness.use((statements) => answer(readerOf(statements), request));
    if (found !== undefined) return found.value;
    throw new GatewayError('policy_unavailable', { detail: freshness.problem?.split(':', 1)[0] ?? '' });
  };
}

if (isObject(workerData) && typeof workerData['stored'] === 'string') {
  const answer = answerFrom(workerData['stored']);
  parentPort?.on('message', (request: StoredRequest) => {
    void answerAs(() => answer(request)).then((answered) => parentPort?.postMessage(answered));
  });
}
