import { describe, expect, test } from 'vitest';
import { createPriceBook } from '../../../src/usage/price-book.ts';
import type { Price } from '../../../src/usage/price.ts';
import { type PriceRow, addPrices, setLimits } from '../../../src/usage/price-table.ts';
import { openUsageFile } from '../../../src/usage/schema.ts';
import { ledgerOfTest } from '../../support/database/ledger.ts';

const NOW = Date.UTC(2026, 10, 27);
const DAY = 86_400_000;
const HOST = 'openrouter.ai';

function openBook() {
  const { path, connection } = ledgerOfTest();
  const book = createPriceBook(connection);
  const add = (
    source: PriceRow['source'],
    model: string,
    input: number | undefined,
    validFrom = NOW,
    provider = HOST,
  ): void =>
    addPrices(connection, [
      { provider, model, validFrom, source, price: input === undefined ? undefined : { input, free: false } },
    ]);
  /** The price of input that holds; undefined where none does. */
  const input = (model: string, at = NOW, provider = HOST) => book.find(provider, model, at)?.price.input;
  return { path, connection, book, add, input };
}

describe('the price that holds', () => {
  test("is the operator's, of the model, of the longest prefix, of all", () => {
    const { add, input } = openBook();
    add('import', 'openai/gpt-4o', 1, NOW, 'openrouter');
    expect(input('openai/gpt-4o')).toBe(1);
    add('provider', 'openai/gpt-4o', 2);
    expect(input('openai/gpt-4o')).toBe(2);
    add('operator', '*', 3);
    expect(input('openai/gpt-4o')).toBe(3);
    add('operator', 'openai/gpt*', 5);
    add('operator', 'openai/*', 4);
    expect([input('openai/gpt-4o'), input('openai/o3'), input('x')]).toEqual([5, 4, 3]);
    add('operator', 'openai/gpt-4o', 6);
    expect([input('openai/gpt-4o'), input('openai/gpt-4o-mini')]).toEqual([6, 5]);
  });

  test('is none of another provider', () => {
    const { add, input } = openBook();
    for (const source of ['operator', 'provider', 'import'] as const) add(source, 'm', 1, NOW, 'api.openai.com');
    add('operator', '*', 1, NOW, 'api.openai.com');
    expect([input('m'), input('m', NOW, 'ollama:11434')]).toEqual([undefined, undefined]);
  });

  test.each([
    ['openrouter.ai', 'openrouter'],
    ['api.openai.com', 'openai'],
    ['acme.openai.azure.com', 'azure'],
    ['api.venice.ai', 'api.venice.ai'],
  ])('of %s is imported under the name %s', (provider, name) => {
    const { add, input } = openBook();
    add('import', 'm', 1, NOW, name);
    add('import', 'm', 2, NOW, 'ollama');
    expect(input('m', NOW, provider)).toBe(1);
  });

  test('is the newest that is valid at the time of the call', () => {
    const { add, input } = openBook();
    add('operator', 'm', 2, NOW);
    add('operator', 'm', 1, NOW - DAY);
    add('operator', 'm', 3, NOW + DAY);
    expect([NOW - DAY - 1, NOW - DAY, NOW - 1, NOW, NOW + DAY].map((at) => input('m', at))).toEqual([
      undefined,
      1,
      1,
      2,
      3,
    ]);
  });

  test('is the one that was written last where two begin together', () => {
    const { add, input } = openBook();
    add('operator', 'm', 1);
    add('operator', 'm', 2);
    expect(input('m')).toBe(2);
  });

  test('ends with a row without a price, and the next in the order holds', () => {
    const { add, input } = openBook();
    add('provider', 'm', 1);
    add('operator', 'm', 2);
    add('operator', 'm', undefined, NOW + DAY);
    expect([input('m'), input('m', NOW + DAY)]).toEqual([2, 1]);
  });

  test('has the id of its row', () => {
    const { add, book, connection } = openBook();
    add('operator', 'other', 1);
    add('operator', 'm', 2);
    const id = book.find(HOST, 'm', NOW)?.id;
    expect(connection.prepare('SELECT model FROM usage_price WHERE id = ?').pluck().get(id)).toBe('m');
  });

  test('is seen at once when another process has set it', () => {
    const { add, input, path } = openBook();
    add('operator', '*', 1);
    expect(input('m')).toBe(1);
    const other = openUsageFile(path, 1_000);
    addPrices(other, [{ provider: HOST, model: 'm', validFrom: NOW, source: 'operator', price: { free: true } }]);
    other.close();
    expect(input('m')).toBeUndefined();
  });

  test('is found in less than 20 µs among the prices of a whole file', () => {
    const { add, book, connection } = openBook();
    connection.transaction(() => {
      for (let index = 0; index < 3_000; index++) add('import', `m${index}`, 1e-6, NOW, 'openrouter');
    })();
    const rounds = Array.from({ length: 50 }, () => {
      const started = performance.now();
      for (let index = 0; index < 300; index++) book.find(HOST, `m${index}`, NOW);
      return ((performance.now() - started) * 1_000) / 300;
    });
    // other processes make most rounds slower than they are
    expect(Math.min(...rounds)).toBeLessThan(20);
  });
});

describe("what is learnt of a provider's list", () => {
  const price = (input: number): Price => ({ input, output: 2 * input, free: false });

  test('is a row where the price is another, from the time at which it was first seen', () => {
    const { book, input } = openBook();
    const learn = (at: number, amount: number) => book.learn(HOST, [{ model: 'm', price: price(amount) }], at);
    expect([learn(NOW, 1), learn(NOW + 1, 1), learn(NOW + DAY, 2), learn(NOW + DAY + 1, 2)]).toEqual([1, 0, 1, 0]);
    expect([input('m', NOW - 1), input('m', NOW), input('m', NOW + DAY)]).toEqual([undefined, 1, 2]);
  });

  test('comes back where a price does', () => {
    const { book, input } = openBook();
    for (const [day, amount] of [1, 2, 1].entries())
      book.learn(HOST, [{ model: 'm', price: price(amount) }], NOW + day * DAY);
    expect([0, 1, 2].map((day) => input('m', NOW + day * DAY))).toEqual([1, 2, 1]);
  });

  test('is not hidden by a clock that went back', () => {
    const { book, input } = openBook();
    book.learn(HOST, [{ model: 'm', price: price(1) }], NOW + DAY);
    book.learn(HOST, [{ model: 'm', price: price(2) }], NOW);
    expect(book.learn(HOST, [{ model: 'm', price: price(2) }], NOW)).toBe(0);
    expect(input('m', NOW + DAY)).toBe(2);
  });

  test('does not stand before what the operator has set', () => {
    const { add, book, input } = openBook();
    add('operator', 'm', 9);
    book.learn(HOST, [{ model: 'm', price: price(1) }], NOW);
    expect(input('m')).toBe(9);
  });

  test('writes nothing where nothing is news, not even with the file locked', () => {
    const { book, path } = openBook();
    const models = [{ model: 'm', price: price(1), context: 10 }, { model: 'n', maxOutput: 5 }, { model: 'o' }];
    book.learn(HOST, models, NOW);
    const other = openUsageFile(path, 0);
    other.exec('BEGIN IMMEDIATE');
    expect(book.learn(HOST, models, NOW + DAY)).toBe(0);
    other.close();
  });

  test('has limits, of which what is not known erases nothing', () => {
    const { book } = openBook();
    book.learn(HOST, [{ model: 'm', context: 8_192, maxOutput: 1_024 }], NOW);
    book.learn(HOST, [{ model: 'm', context: 16_384 }], NOW);
    expect(book.limitsOf(HOST, 'm')).toEqual({ context: 16_384, maxOutput: 1_024 });
    expect(book.limitsOf('other', 'm')).toEqual({ context: undefined, maxOutput: undefined });
  });

  test('stands before imported limits', () => {
    const { book, connection } = openBook();
    setLimits(connection, [{ provider: 'openrouter', model: 'm', context: 1, maxOutput: 2 }]);
    book.learn(HOST, [{ model: 'm', context: 3 }], NOW);
    expect(book.limitsOf(HOST, 'm')).toEqual({ context: 3, maxOutput: 2 });
  });
});
