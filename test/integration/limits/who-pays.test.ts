/** Whose allowance a request costs, and which mode changes nothing about it. */
import { describe, expect, test } from 'vitest';
import { chat } from '../../support/gate/attacks.ts';
import { manualClock } from '../../support/process/clock.ts';
import { gateOfTest } from '../../support/gate/gate.ts';

async function gateWith(settings: Record<string, string>) {
  const clock = manualClock();
  const gate = await gateOfTest(settings, '0.12.4', clock);
  const chats = async (user: string, model: string, times = 1): Promise<number[]> => {
    const statuses: number[] = [];
    for (let request = 0; request < times; request += 1) {
      const answer = await gate.ask(user, '/api/chat/completions', chat(model));
      await answer.text();
      statuses.push(answer.status);
    }
    return statuses;
  };
  const lastLimit = async (): Promise<unknown> => {
    await expect.poll(() => gate.lines.at(-1)?.['status']).toBe(429);
    return gate.lines.at(-1)?.['limit'];
  };
  return { gate, clock, chats, lastLimit };
}

describe('a chat costs', () => {
  test('its user one, until the rate has earned it again', async () => {
    const { chats, clock, lastLimit } = await gateWith({ MODELGATE_LIMIT_CHAT: '2/1m' });
    expect(await chats('ann', 'A', 3)).toEqual([200, 200, 429]);
    expect(await lastLimit()).toBe('chat');
    expect(await chats('bob', 'F', 1)).toEqual([200]);
    clock.advance(30_000);
    expect(await chats('ann', 'A', 2)).toEqual([200, 429]);
  });

  test('the organization whose grant permitted it, and no other one of the user', async () => {
    const { chats, lastLimit } = await gateWith({ MODELGATE_LIMIT_ORGANIZATION: '2/1m' });
    expect([await chats('cyd', 'A'), await chats('ann', 'A'), await chats('ann', 'A')].flat()).toEqual([200, 200, 429]);
    expect(await lastLimit()).toBe('organization');
    expect([await chats('cyd', 'A'), await chats('cyd', 'F'), await chats('bob', 'F')].flat()).toEqual([429, 200, 200]);
    expect(await chats('cyd', 'F')).toEqual([429]);
  });

  test('nothing but an API request where it was denied, neither its user nor any organization', async () => {
    const { chats, gate } = await gateWith({ MODELGATE_LIMIT_CHAT: '1/1m', MODELGATE_LIMIT_ORGANIZATION: '1/1m' });
    expect(await chats('ann', 'F', 5)).toEqual([403, 403, 403, 403, 403]);
    expect(await chats('dan', 'A', 2)).toEqual([403, 403]);
    expect((await gate.ask('ann', '/api/chat/completions', { model: 5 })).status).toBe(400);
    expect(await chats('ann', 'A', 2)).toEqual([200, 429]);
    expect(await chats('bob', 'F')).toEqual([200]);
  });

  test('no second time what another limit refuses', async () => {
    const { chats, clock } = await gateWith({ MODELGATE_LIMIT_CHAT: '1/1h', MODELGATE_LIMIT_ORGANIZATION: '3/1h' });
    expect(await chats('ann', 'A', 9)).toEqual([200, ...new Array<number>(8).fill(429)]);
    expect([await chats('cyd', 'A'), await chats('adm', 'A')].flat()).toEqual([200, 200]);
    clock.advance(3_600_000);
    expect(await chats('ann', 'A', 2)).toEqual([200, 429]);
  });

  test('the same in every dialect and through every door', async () => {
    const { gate } = await gateWith({ MODELGATE_LIMIT_CHAT: '4/1m' });
    const doors = ['/api/chat/completions', '/api/v1/chat/completions', '/openai/chat/completions', '/api/message'];
    for (const door of doors) expect((await gate.ask('ann', door, chat('A'))).status).toBe(200);
    for (const door of doors) expect((await gate.ask('ann', door, chat('A'))).status).toBe(429);
    expect((await gate.ask('ann', '/api/models')).status).toBe(200);
  });
});

describe('whatever the gate is switched to', () => {
  test('report mode refuses nothing by policy, and everything by limit', async () => {
    const { chats, gate } = await gateWith({ MODELGATE_MODE: 'report', MODELGATE_LIMIT_CHAT: '2/1m' });
    expect(await chats('ann', 'F', 3)).toEqual([200, 200, 429]);
    expect(gate.ran()).toEqual(['F', 'F']);
  });

  test('a bypassed gate identifies no user, and limits nothing', async () => {
    const { chats } = await gateWith({ BYPASS_MODEL_ACCESS_CONTROL: 'true', MODELGATE_LIMIT_CHAT: '1/1m' });
    expect(await chats('ann', 'F', 3)).toEqual([200, 200, 200]);
  });
});
