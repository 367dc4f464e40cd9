import { describe, expect, test } from 'vitest';
import { createChatOrder } from '../../../src/openwebui/saved-chats.ts';
import { manualClock } from '../../support/process/clock.ts';

/** Counts how often it was read, and answers with the count. */
function counter() {
  const read = { times: 0, now: () => Promise.resolve(++read.times) };
  return read;
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 60));

describe('what a run of a chat reads', () => {
  test('is read at once where no save is under way, or one of another chat', async () => {
    const order = createChatOrder();
    await order.begin('other');
    await expect(order.quietly('chat', counter().now)).resolves.toBe(1);
  });

  test('is read after the end of every save that is under way', async () => {
    const order = createChatOrder();
    const read = counter();
    const ends = [await order.begin('chat'), await order.begin('chat')];
    const reading = order.quietly('chat', read.now);
    ends[0]?.(true);
    await soon();
    expect(read.times).toBe(0);
    ends[1]?.(true);
    await expect(reading).resolves.toBe(1);
  });

  test('is read again where a save has begun meanwhile, also one that has ended already', async () => {
    const order = createChatOrder();
    const read = counter();
    const { promise: going, resolve: go } = Promise.withResolvers<undefined>();
    const reading = order.quietly('chat', async () => {
      const times = await read.now();
      await going;
      return times;
    });
    await soon();
    (await order.begin('chat'))(true);
    go(undefined);
    await expect(reading).resolves.toBe(2);
  });

  test('waits longer for a save whose client has left: the backend may go on with it', async () => {
    const clock = manualClock();
    const order = createChatOrder({ now: clock.now });
    const read = counter();
    (await order.begin('chat'))(false);
    const reading = order.quietly('chat', read.now);
    await soon();
    expect(read.times).toBe(0);
    clock.advance(31_000);
    await expect(reading).resolves.toBe(1);
  });

  test('is refused after some seconds', async () => {
    const clock = manualClock();
    const order = createChatOrder({ now: clock.now });
    await order.begin('chat');
    const refused = order.quietly('chat', counter().now);
    clock.advance(11_000);
    await expect(refused).rejects.toMatchObject({ code: 'chat_busy' });
  });
});
