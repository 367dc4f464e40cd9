/** A save may write a withdrawn name again. Until it has ended, the chat does not say what a run would find: runs wait. */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../errors.ts';

export type ChatOrder = ReturnType<typeof createChatOrder>;
/** The backend may go on with a request whose client has left. */
const LINGER_MS = 30_000;
const LONGEST_WAIT_MS = 10_000;
const LOOK_EVERY_MS = 25;

/** @param now monotonic milliseconds */
export function createChatOrder(now: () => number = () => performance.now()) {
  const newChat = () => ({ saves: new Set<{ until: number }>(), begun: 0, readers: 0 });
  const chats = new Map<string, ReturnType<typeof newChat>>();

  function chatOf(id: string) {
    const chat = chats.get(id) ?? newChat();
    chats.set(id, chat);
    return chat;
  }
  function settle(id: string): boolean {
    const { saves, readers } = chatOf(id);
    for (const save of saves) if (save.until <= now()) saves.delete(save);
    if (saves.size === 0 && readers === 0) chats.delete(id);
    return saves.size === 0;
  }

  return {
    /** Notes a save, before it is read what it may keep. @returns what ends it; `answered`: the backend said what it did */
    begin(id: string): (answered: boolean) => void {
      const chat = chatOf(id);
      const save = { until: Infinity };
      chat.begun++;
      chat.saves.add(save);
      return (answered) => {
        save.until = now() + (answered ? 0 : LINGER_MS);
        settle(id);
        if (!answered) setTimeout(() => settle(id), LINGER_MS + 1_000).unref();
      };
    },
    /**
     * Reads when no save is under way, and again where one has begun meanwhile; a later one reads later too.
     * @throws GatewayError `chat_busy` (503) after some seconds
     */
    async quietly<T>(id: string, read: () => Promise<T>): Promise<T> {
      const deadline = now() + LONGEST_WAIT_MS;
      const chat = chatOf(id);
      chat.readers++;
      try {
        for (;;) {
          for (; !settle(id); await sleep(LOOK_EVERY_MS)) if (now() > deadline) throw new GatewayError('chat_busy');
          const { begun } = chat;
          const value = await read();
          if (chat.begun === begun) return value;
          if (now() > deadline) throw new GatewayError('chat_busy');
        }
      } finally {
        chat.readers--;
        settle(id);
      }
    },
  };
}
