import { describe, expect, test } from 'vitest';
import { gateOfSuite } from '../../support/gate/gate.ts';
import { rawRequest } from '../../support/gate/raw-connection.ts';
import { until } from '../../support/process/with-timeout.ts';

const gate = gateOfSuite();

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

describe('a preset', () => {
  const create = (id: string) =>
    gate.ask('ann', '/api/v1/models/create', { id, name: id, base_model_id: 'A', params: {}, meta: {} });

  test("cannot take a provider model's id, once the models were listed, even without a grant", async () => {
    await gate.ask('bob', '/api/models');
    expect((await create('other/one')).status).toBe(403);
  });

  test('can take any other id', async () => {
    expect((await create('of-ann')).status).toBe(200);
  });
});

describe('a malformed request', () => {
  test('is refused in the dialect of its path and has an access line', async () => {
    const answer = await rawRequest(
      gate.port,
      'POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n',
    );
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('"error":{"message":"The request is not well-formed HTTP');
    await until(
      () => gate.lines.some(({ status, path }) => status === 400 && path === '/openai/chat/completions'),
      2_000,
      'access line',
    );
  });
});
