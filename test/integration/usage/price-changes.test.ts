import { describe, expect, test } from 'vitest';
import { createPriceBook } from '../../../src/usage/price-book.ts';
import { endPrice, listPrices, importPrices, setPrice } from '../../../src/usage/price-changes.ts';
import { ledgerOfTest } from '../../support/database/ledger.ts';

const NOW = Date.UTC(2026, 10, 27);
const DAY = 86_400_000;
const MODEL = { provider: 'api.openai.com', model: 'm' };

function opened() {
  const { connection } = ledgerOfTest();
  const book = createPriceBook(connection);
  const set = (input: number, validFrom = NOW) =>
    setPrice(connection, { ...MODEL, price: { input, free: false }, validFrom });
  const input = (at = NOW) => book.find(MODEL.provider, MODEL.model, at)?.price.input;
  const listed = (now = NOW) =>
    listPrices(connection, {}, now).map(({ price, validFrom }) => [price?.input, validFrom]);
  return { connection, set, input, listed };
}

describe('a price that is set', () => {
  test('holds from its date on, and what held before is kept', () => {
    const { set, input, listed } = opened();
    expect(set(1, NOW - DAY)).toEqual({ outcome: 'new', next: undefined });
    expect(set(2)).toEqual({ outcome: 'changed', next: undefined });
    expect([input(NOW - 1), input()]).toEqual([1, 2]);
    expect(listed()).toEqual([[2, NOW]]);
  });

  test('is not written again', () => {
    const { connection, set } = opened();
    set(1);
    expect(set(1, NOW + DAY)).toEqual({ outcome: 'same', next: undefined });
    expect(connection.prepare('SELECT count(*) FROM usage_price').pluck().get()).toBe(1);
  });

  test('says which later one takes its place', () => {
    const { set, input } = opened();
    set(3, NOW + 2 * DAY);
    set(2, NOW + DAY);
    expect(set(1)).toEqual({ outcome: 'new', next: NOW + DAY });
    expect([0, 1, 2].map((day) => input(NOW + day * DAY))).toEqual([1, 2, 3]);
  });

  test('takes the place of one that begins at the same time', () => {
    const { set, listed } = opened();
    set(1, NOW + DAY);
    expect(set(2, NOW + DAY)).toMatchObject({ outcome: 'changed' });
    expect(listed()).toEqual([[2, NOW + DAY]]);
  });
});

describe('a price that is ended', () => {
  test('no longer holds, nor do those to come; for calls before it does', () => {
    const { connection, set, input, listed } = opened();
    set(1);
    set(2, NOW + 2 * DAY);
    expect(input(NOW + 2 * DAY)).toBe(2);
    expect(endPrice(connection, MODEL, NOW + DAY)).toBe(true);
    expect([0, 1, 2].map((day) => input(NOW + day * DAY))).toEqual([1, undefined, undefined]);
    expect(listed(NOW + DAY)).toEqual([]);
    expect(endPrice(connection, MODEL, NOW + DAY)).toBe(false);
  });

  test('can be set again', () => {
    const { connection, set, input } = opened();
    set(1);
    set(2, NOW + 2 * DAY);
    endPrice(connection, MODEL, NOW + DAY);
    expect(set(1, NOW + DAY)).toEqual({ outcome: 'new', next: undefined });
    expect(input(NOW + 3 * DAY)).toBe(1);
  });

  test('was set, which nothing else was', () => {
    const { connection } = opened();
    createPriceBook(connection).learn(MODEL.provider, [{ model: 'm', price: { free: true } }], NOW);
    expect(endPrice(connection, MODEL, NOW)).toBe(false);
  });
});

describe('the list', () => {
  test('has what is about a provider, with what is imported for it', () => {
    const { connection, set } = opened();
    set(1);
    const price = { input: 1, free: false };
    const models = ['openai', 'mistral'].map((provider) => ({ provider, model: 'n', price }));
    importPrices(connection, models, NOW);
    const providers = listPrices(connection, { provider: MODEL.provider }, NOW).map((row) => row.provider);
    expect(providers).toEqual(['api.openai.com', 'openai']);
  });

  test.each([
    ['openai/gpt-4o', ['*', 'openai/*', 'openai/gpt-4o']],
    ['openai/*', ['*', 'openai/*', 'openai/gpt-4o']],
    ['other', ['*']],
  ])('has what is about %s', (model, expected) => {
    const { connection } = opened();
    for (const pattern of ['*', 'openai/*', 'openai/gpt-4o', 'mistral/*']) {
      setPrice(connection, { provider: 'x', model: pattern, price: { free: true }, validFrom: NOW });
    }
    expect(listPrices(connection, { model }, NOW).map((row) => row.model)).toEqual(expected);
  });
});

describe('an import', () => {
  const imported = { provider: 'openai', model: 'm' };
  const price = (input: number) => ({ input, free: false });

  test('says of each model what has become of it', () => {
    const { connection, input } = opened();
    const take = (at: number, ...models: object[]) =>
      importPrices(
        connection,
        models.map((model) => ({ ...imported, ...model })),
        at,
      );
    expect(take(NOW, { price: price(1) }, { price: price(2) }, { model: 'z', skipped: 'zero' })).toEqual({
      ...{ new: 1, repeated: 1, zero: 1 },
    });
    expect(take(NOW + DAY, { price: price(1) })).toEqual({ same: 1 });
    expect(take(NOW + 2 * DAY, { price: price(3) })).toEqual({ changed: 1 });
    expect([input(), input(NOW + DAY), input(NOW + 2 * DAY)]).toEqual([1, 1, 3]);
  });

  test('brings the limits of models, also of those without a price, and none of unknown providers', () => {
    const { connection } = opened();
    const models = [
      { ...imported, skipped: 'zero', context: 4_096, maxOutput: 1_024 },
      { ...imported, skipped: 'zero', context: 8_192 },
      { provider: 'bedrock', model: 'b', skipped: 'unknown_provider', context: 1 },
    ] as const;
    importPrices(connection, models, NOW);
    expect(createPriceBook(connection).limitsOf(MODEL.provider, 'm')).toEqual({ context: 8_192, maxOutput: 1_024 });
    expect(connection.prepare('SELECT count(*) FROM usage_model').pluck().get()).toBe(1);
  });
});
