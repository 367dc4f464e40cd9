import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGate } from '../../support/gate.ts';
import { startTestGate } from '../../support/gate.ts';

let gate: TestGate;
beforeAll(async () => {
  gate = await startTestGate();
});
afterAll(async () => gate[Symbol.asyncDispose]());

const chat = (model: string) => ({ model, messages: [{ role: 'user', content: 'hello' }] });
const ids = async (answer: Response) => ((await answer.json()) as { data: { id: string }[] }).data.map(({ id }) => id);

describe('every organization', () => {
  test('sees only its own models', async () => {
    expect(await ids(await gate.ask('ann', '/api/models'))).toEqual(['A', 'acme/one']);
    expect(await ids(await gate.ask('bob', '/api/models'))).toEqual(['F']);
    expect(await ids(await gate.ask('cyd', '/api/models'))).toEqual(['A', 'F', 'acme/one']);
    expect(await ids(await gate.ask('dan', '/api/models'))).toEqual([]);
  });

  test('uses its own models', async () => {
    const answer = await gate.ask('ann', '/api/chat/completions', chat('A'));
    expect([answer.status, gate.ran()]).toEqual([200, ['A']]);
  });

  test('is refused every other model, which never reaches the backend', async () => {
    const answer = await gate.ask('ann', '/api/chat/completions', chat('F'));
    expect(answer.status).toBe(403);
    expect(await answer.json()).toEqual({
      detail: expect.stringMatching(/^The model "F" does not exist or .* \(decision d-\w+\)$/) as string,
    });
    expect(gate.ran()).toEqual([]);
  });

  test('cannot tell a forbidden model from an unknown one', async () => {
    const texts = [];
    for (const model of ['F', 'nothing']) {
      const answer = await gate.ask('ann', '/api/chat/completions', chat(model));
      texts.push([answer.status, (await answer.text()).replace(model, 'X').replace(/d-\w+/, 'd')]);
    }
    expect(texts[0]).toEqual(texts[1]);
  });
});
