/** One long body must not hurt the others: neither their time nor the process. */
import { describe, expect, test } from 'vitest';
import { gateOfSuite } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';
const MB = 1_000_000;
const UNLIMITED = Object.fromEntries(
  ['ADDRESS', 'USER', 'CHAT', 'ORGANIZATION'].map((name) => [`MODELGATE_LIMIT_${name}`, 'off']),
);

describe('a long body', () => {
  const gate = gateOfSuite(UNLIMITED);

  const post = (user: string, body: string, target = CHAT) =>
    gate.ask(user, target, undefined, { method: 'POST', body: new Blob([body]) });
  const empties = (bytes: number) => `{"model":"A","messages":[],"x":[${'{},'.repeat(bytes / 3)}{}]}`;
  const small = JSON.stringify({ model: 'A', messages: [{ role: 'user', content: 'hi' }] });

  test.each([
    ['a chat', CHAT, 20 * MB],
    ['a saved chat', '/api/v1/chats/new', 4 * MB],
    ['an imported preset', '/api/v1/models/import', 4 * MB],
    ['an unknown path', '/api/v1/unheard/of', 4 * MB],
  ])('of empty objects is refused in words, and others are answered meanwhile: %s', async (_name, target, bytes) => {
    const long = [post('ann', empties(bytes), target), post('cyd', empties(4 * MB), target)];
    const state = { isAnswered: false, meanwhile: 0 };
    void Promise.all(long).then(() => (state.isAnswered = true));
    do {
      expect((await post('ann', small)).status).toBe(200);
      state.meanwhile++;
    } while (!state.isAnswered);
    expect(state.meanwhile).toBeGreaterThan(0);
    for (const answer of await Promise.all(long)) {
      expect(answer.status).toBe(413);
      expect(await answer.text()).toMatch(/Found [\d,]+ values in \d+\.\d MB, which take \d+\.\d MB to read/);
    }
    gate.ran();
  });

  test('is judged to its end: a model that is not granted is refused there', async () => {
    const messages = `{"role":"user","content":"${'hello wörld '.repeat(80)}"},`.repeat(4_000);
    const chat = (model: string) =>
      `{"messages":[${messages}{"role":"user","content":"?"}],"model":"A","fallbacks":["${model}"]}`;
    expect((await post('ann', chat('F'))).status).toBe(403);
    expect(gate.ran()).toEqual([]);
    expect((await post('ann', chat('A'))).status).toBe(200);
    expect([...new Set(gate.ran())]).toEqual(['A']);
  });

  test('with more names than a user has models is refused', async () => {
    const names = Array.from({ length: 20_000 }, (_none, at) => `"acme/${at}"`).join();
    const answer = await post('ann', `{"model":"A","messages":[],"models":[${names}]}`);
    expect(answer.status).toBe(413);
    expect(await answer.text()).toContain('Found 5,001 or more names of models. Allowed are 5,000.');
  });
});
