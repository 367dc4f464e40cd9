/**
 * Orders what is written to one chat and what runs in it. A save may write a name again that the caller may not use any
 * more, because the stored version has it. While such a save is under way, the stored version does not yet say what a
 * run would find: runs in this chat wait for its end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../errors.ts';

export interface ChatOrder {
  /**
   * Notes a save under way, before it is read what it may keep. @returns what ends it; `answered`: the backend said what it did, so that it is done
   */
  begin(chatId: string): (answered: boolean) => void;
  /**
   * Reads what a run of the chat would find: when no such save is under way, and again where one has begun meanwhile. A
   * save that begins later reads later too, and cannot write again what was no longer there.
   * @throws GatewayError `chat_busy` (503) after some seconds
   */
  quietly<T>(chatId: string, read: () => Promise<T>): Promise<T>;
}

/** The backend may go on with a request whose client has left. */
const LINGER_MS = 30_000;
const LONGEST_WAIT_MS = 10_000;
const LOOK_EVERY_MS = 25;

/** @param now monotonic milliseconds */
export function createChatOrder(now: () => number = () => performance.now()): ChatOrder {
  /** For each chat the saves under way: until when each counts. */
  const underWay = new Map<string, Set<{ until: number }>>();
  /** For each chat what is read in it now; a save that begins disturbs it. */
  const readings: Readings = new Map();

  function isSettled(chatId: string): boolean {
    const saves = underWay.get(chatId);
    if (saves === undefined) return true;
    for (const save of saves) if (save.until <= now()) saves.delete(save);
    if (saves.size === 0) underWay.delete(chatId);
    return saves.size === 0;
  }

  async function settle(chatId: string, deadline: number): Promise<void> {
    while (!isSettled(chatId)) {
      if (now() > deadline) throw new GatewayError('chat_busy');
      await sleep(LOOK_EVERY_MS);
    }
  }

  return {
    begin(chatId) {
      for (const reading of readings.get(chatId) ?? []) reading.isDisturbed = true;
      const save = { until: Number.POSITIVE_INFINITY };
      const saves = underWay.get(chatId) ?? new Set();
      underWay.set(chatId, saves.add(save));
      return (answered) => {
        save.until = now() + (answered ? 0 : LINGER_MS);
        isSettled(chatId);
        // Nothing else might ever ask for this chat again
        if (!answered) setTimeout(() => isSettled(chatId), LINGER_MS + 1_000).unref();
      };
    },
    async quietly(chatId, read) {
      const deadline = now() + LONGEST_WAIT_MS;
      for (;;) {
        await settle(chatId, deadline);
        const undisturbed = await readUndisturbed(readings, chatId, read);
        if (undisturbed !== undefined) return undisturbed.value;
        if (now() > deadline) throw new GatewayError('chat_busy');
      }
    },
  };
}

type Readings = Map<string, Set<{ isDisturbed: boolean }>>;

/** @returns undefined where a save has begun meanwhile */
async function readUndisturbed<T>(
  readings: Readings,
  chatId: string,
  read: () => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const reading = { isDisturbed: false };
  const inChat = readings.get(chatId) ?? new Set();
  readings.set(chatId, inChat.add(reading));
  try {
    const value = await read();
    return reading.isDisturbed ? undefined : { value };
  } finally {
    inChat.delete(reading);
    if (inChat.size === 0 && readings.get(chatId) === inChat) readings.delete(chatId);
  }
}
