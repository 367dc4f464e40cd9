/** Prices that a provider's own list carries, as the door learns them, and what calls then cost. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type TestDoor, ACCESS_KEY, startTestDoor } from '../../support/gate/provider-door.ts';
import { runCommand } from '../../support/process/command.ts';
import { readUsage } from '../../support/database/usage.ts';
import { type RecordingUpstream, sendJson, startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const CHEAP = { prompt: '0.00000015', completion: '0.0000006' };
const DEAR = { prompt: '0.00000030', completion: '0.0000012' };

/** Lists its models with `pricing()`, and says what a call has used, never what it has cost. */
const startPricedProvider = (pricing: () => unknown): Promise<RecordingUpstream> =>
  startRecordingUpstream((_incoming, outgoing, { path }) =>
    path.endsWith('/models')
      ? sendJson(outgoing, { data: [{ id: 'A', pricing: pricing(), context_length: 128_000 }] })
      : sendJson(outgoing, { id: 'x', choices: [], usage: { prompt_tokens: 10, completion_tokens: 5 } }),
  );

const startDoor = ({ origin }: RecordingUpstream): Promise<TestDoor> =>
  startTestDoor({
    MODELGATE_PROVIDERS: `${origin}/v1`,
    MODELGATE_PROVIDER_LIST_CACHE: '0ms',
    MODELGATE_USAGE_DATABASE: 'usage.db',
  });

async function ask(door: TestDoor, { port }: RecordingUpstream, path: string, body?: object): Promise<number> {
  const answer = await fetch(`${door.url}/127.0.0.1:${port}/v1/${path}`, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    headers: {
      ...{ authorization: `Bearer ${ACCESS_KEY}`, 'x-openwebui-user-id': 'ann', 'content-type': 'application/json' },
    },
  });
  await answer.text();
  return answer.status;
}

const chat = (door: TestDoor, upstream: RecordingUpstream): Promise<number> =>
  ask(door, upstream, 'chat/completions', { model: 'A', messages: [{ role: 'user', content: 'hello' }] });

const costs = (door: TestDoor): unknown[] => door.calls().map(({ cost_nano: cost }) => cost);
const usagePath = ({ database }: TestDoor): string => join(database.directory, 'usage.db');

describe('a list with prices', () => {
  test('prices the calls that come after it, and none that came before', async () => {
    let pricing = CHEAP;
    await using upstream = await startPricedProvider(() => pricing);
    await using door = await startDoor(upstream);
    await chat(door, upstream);
    for (const now of [CHEAP, DEAR]) {
      pricing = now;
      expect(await ask(door, upstream, 'models')).toBe(200);
      expect(await chat(door, upstream)).toBe(200);
    }
    expect(costs(door)).toEqual([null, 10 * 150 + 5 * 600, 10 * 300 + 5 * 1_200]);
  });

  test('adds a row where a price is another one, and not for each time that it is asked for', async () => {
    await using upstream = await startPricedProvider(() => CHEAP);
    await using door = await startDoor(upstream);
    for (let count = 0; count < 3; count++) await ask(door, upstream, 'models');
    await chat(door, upstream);
    const rows = readUsage(usagePath(door), 'SELECT provider, model, source, input, output FROM usage_price');
    const host = `127.0.0.1:${upstream.port}`;
    expect(rows).toEqual([{ provider: host, model: 'A', source: 'provider', input: 1.5e-7, output: 6e-7 }]);
    const limits = readUsage(usagePath(door), 'SELECT provider, model, context FROM usage_model');
    expect(limits).toEqual([{ provider: host, model: 'A', context: 128_000 }]);
  });

  test('that was asked for with a query teaches nothing: it is asked for once', async () => {
    await using upstream = await startPricedProvider(() => CHEAP);
    await using door = await startDoor(upstream);
    await ask(door, upstream, 'models?category=x');
    await chat(door, upstream);
    expect(costs(door)).toEqual([null]);
  });

  test.each([
    ['numbers', { prompt: 0.15, completion: 0.6 }],
    ['prices that vary', { prompt: '-1', completion: '-1' }],
    ['a price by the million', { prompt: '0.15', completion: '0.6' }],
    ['no object', 'free'],
  ])('that has %s is passed on, and teaches nothing', async (_, pricing) => {
    await using upstream = await startPricedProvider(() => pricing);
    await using door = await startDoor(upstream);
    expect(await ask(door, upstream, 'models')).toBe(200);
    await chat(door, upstream);
    expect(costs(door)).toEqual([null]);
  });

  test("stands behind the operator's price, which a running gate has from the next call on", async () => {
    await using upstream = await startPricedProvider(() => CHEAP);
    await using door = await startDoor(upstream);
    const host = `127.0.0.1:${upstream.port}`;
    const price = async (...words: string[]) => {
      const { code, stderr } = await runCommand(['price', ...words, '--usage-database', usagePath(door)]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    };
    await ask(door, upstream, 'models');
    await chat(door, upstream);
    await price('set', host, 'A*', '--free');
    await chat(door, upstream);
    await price('set', host, 'A', '--input', '1', '--output', '2');
    await chat(door, upstream);
    await price('remove', host, 'A');
    await price('remove', host, 'A*');
    await chat(door, upstream);
    expect(costs(door)).toEqual([4_500, 0, 20_000, 4_500]);
  });
});

test('a call costs what the fallback costs that has answered it, by whatever longer name', async () => {
  let model = 'A-2026-01-31';
  await using upstream = await startRecordingUpstream((_incoming, outgoing) =>
    sendJson(outgoing, { id: 'x', model, choices: [], usage: { prompt_tokens: 10, completion_tokens: 5 } }),
  );
  await using door = await startDoor(upstream);
  for (const [priced, price] of [
    ['A', '1'],
    ['acme/*', '3'],
  ] as const) {
    const words = ['price', 'set', `127.0.0.1:${upstream.port}`, priced, '--input', price, '--output', price];
    expect(await runCommand([...words, '--usage-database', usagePath(door)])).toMatchObject({ code: 0 });
  }
  const body = { model: 'A', models: ['acme/one'], messages: [] };
  for (const answering of ['A-2026-01-31', 'acme/one', 'acme/one-2026-01-31', 'acme/other', 'Ab']) {
    model = answering;
    expect(await ask(door, upstream, 'chat/completions', body)).toBe(200);
  }
  expect(costs(door)).toEqual([15_000, 45_000, 45_000, 15_000, 15_000]);
});
