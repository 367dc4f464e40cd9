import { describe, expect, test } from 'vitest';
import { createListCache } from '../../../src/provider-door/lists.ts';

const [FIRST, SECOND] = ['{"data":[1]}', '{"data":[2]}'];
const answer = (status: number, text: string) => ({ status, headers: [], body: Buffer.from(text) });

function createProvider() {
  const asked: (() => void)[] = [];
  let next: () => Promise<ReturnType<typeof answer>> = () => Promise.resolve(answer(200, FIRST));
  return {
    asked,
    answers: (change: typeof next) => void (next = change),
    fetch: () => {
      asked.push(() => undefined);
      return next();
    },
  };
}

describe('lists of models are kept', () => {
  test('and asked for anew when their time is over', async () => {
    let time = 0;
    const listFor = createListCache({ freshMs: 60_000, now: () => time });
    const provider = createProvider();
    const textOf = async () => String((await listFor('a', provider.fetch)).body);
    expect(await textOf()).toBe(FIRST);
    provider.answers(() => Promise.resolve(answer(200, SECOND)));
    time = 59_999;
    expect(await textOf()).toBe(FIRST);
    time = 60_000;
    expect(await textOf()).toBe(SECOND);
    expect(provider.asked).toHaveLength(2);
  });

  test('once for all that ask together, and apart by provider', async () => {
    const listFor = createListCache({ freshMs: 60_000 });
    const provider = createProvider();
    await Promise.all([listFor('a', provider.fetch), listFor('a', provider.fetch), listFor('b', provider.fetch)]);
    expect(provider.asked).toHaveLength(2);
  });

  test.each([
    ['cannot be reached', () => Promise.reject(new Error('refused')), 'Error: refused'],
    ['answers 502', () => Promise.resolve(answer(502, 'down')), 502],
  ])('and serve for ten minutes where the provider %s', async (_, failing, outcome) => {
    let time = 0;
    const listFor = createListCache({ freshMs: 1_000, now: () => time });
    const provider = createProvider();
    await listFor('a', provider.fetch);
    provider.answers(failing);
    time = 600_000;
    expect(String((await listFor('a', provider.fetch)).body)).toBe(FIRST);
    time = 600_001;
    const [last] = await Promise.allSettled([listFor('a', provider.fetch)]);
    expect(last.status === 'fulfilled' ? last.value.status : String(last.reason)).toBe(outcome);
  });

  test('a refusal of the provider is passed on and not kept', async () => {
    const listFor = createListCache({ freshMs: 60_000 });
    const provider = createProvider();
    provider.answers(() => Promise.resolve(answer(401, 'no')));
    expect((await listFor('a', provider.fetch)).status).toBe(401);
    provider.answers(() => Promise.resolve(answer(200, FIRST)));
    expect((await listFor('a', provider.fetch)).status).toBe(200);
  });
});

describe('a provider that does not answer', () => {
  test('holds up nobody who can have the last list, and is asked once', async () => {
    let time = 0;
    const listFor = createListCache({ freshMs: 1_000, now: () => time, patienceMs: 5 });
    const provider = createProvider();
    await listFor('a', provider.fetch);
    time = 2_000;
    const hung = Promise.withResolvers<ReturnType<typeof answer>>();
    provider.answers(() => hung.promise);
    const lists = await Promise.all([listFor('a', provider.fetch), listFor('a', provider.fetch)]);
    expect(lists.map(({ body }) => String(body))).toEqual([FIRST, FIRST]);
    expect(provider.asked).toHaveLength(2);
    hung.resolve(answer(200, SECOND));
    await hung.promise;
    expect(String((await listFor('a', provider.fetch)).body)).toBe(SECOND);
  });
});

test('what is no list is not kept, and the last list serves in its place', async () => {
  let time = 0;
  const listFor = createListCache({ freshMs: 1_000, now: () => time });
  const provider = createProvider();
  provider.answers(() => Promise.resolve(answer(200, '<html>maintenance</html>')));
  expect(String((await listFor('a', provider.fetch)).body)).toBe('<html>maintenance</html>');
  provider.answers(() => Promise.resolve(answer(200, FIRST)));
  await listFor('a', provider.fetch);
  time = 2_000;
  provider.answers(() => Promise.resolve(answer(200, '<html>maintenance</html>')));
  expect(String((await listFor('a', provider.fetch)).body)).toBe(FIRST);
});

test('an answer to a query is not kept', async () => {
  const listFor = createListCache({ freshMs: 60_000 });
  const provider = createProvider();
  for (let asked = 0; asked < 2; asked += 1) await listFor('host /v1/models?x=1', provider.fetch);
  expect(provider.asked).toHaveLength(2);
});
