import { describe, expect, test } from 'vitest';
import { createChatOrder } from '../../../src/enforcement/chat-order.ts';
import { manualClock } from '../../support/clock.ts';

describe('runs of a chat', () => {
  test('go on where no save is under way, or one of another chat', () => {
    const order = createChatOrder();
    order.begin('other');
    expect(order.settled('chat')).toBeUndefined();
  });

  test('wait for the end of every save that is under way', async () => {
    const order = createChatOrder();
    const ends = [order.begin('chat'), order.begin('chat')];
    let settled = false;
    const waiting = order.settled('chat')?.then(() => (settled = true));
    ends[0]?.(true);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(settled).toBe(false);
    ends[1]?.(true);
    await waiting;
    expect(settled).toBe(true);
  });

  test('wait longer for a save whose client has left: the backend may go on with it', () => {
    const clock = manualClock();
    const order = createChatOrder(clock.now);
    order.begin('chat')(false);
    expect(order.settled('chat')).toBeInstanceOf(Promise);
    clock.advance(31_000);
    expect(order.settled('chat')).toBeUndefined();
  });

  test('are refused after some seconds', async () => {
    const clock = manualClock();
    const order = createChatOrder(clock.now);
    order.begin('chat');
    const refused = order.settled('chat');
    clock.advance(11_000);
    await expect(refused).rejects.toMatchObject({ code: 'chat_busy' });
  });
});
