import { describe, expect, test } from 'vitest';
import { scanJson as weigh } from '../../../src/references/bounds.ts';
import { parseStrictJson } from '../../../src/references/json.ts';

const MB = 1_000_000;
const bound = (text: string) => () => parseStrictJson(Buffer.from(text));
const repeated = (text: string, bytes: number) => `${text},`.repeat(bytes / (text.length + 1)) + text;

describe('the weight of JSON', () => {
  test.each([
    ['{}', 1],
    ['[1,2,3]', 4],
    ['{"a":1,"b":[{},"x"]}', 5],
    ['["a,b","{[,","\\"],[\\\\",1]', 5],
  ])('counts its values and looks into no text: %s', (text, values) => {
    expect(weigh(text).values).toBe(values);
  });

  test('is more for objects than for numbers, and more for new keys than for known ones', () => {
    const [empties, numbers] = [`[${repeated('{}', 9_000)}]`, `[${repeated('10', 9_000)}]`];
    expect(weigh(empties).memoryBytes).toBeGreaterThan(3 * weigh(numbers).memoryBytes);
    const keys = Array.from({ length: 1_000 }, (_none, at) => `{"${at + 1_000}":1}`).join();
    expect(weigh(`[${keys}]`).memoryBytes).toBeGreaterThan(
      1.8 * weigh(`[${repeated('{"1000":1}', keys.length)}]`).memoryBytes,
    );
  });

  test.each(['"', '\\"', '\\\\"', `"${'\\"'.repeat(40)}`, `"${'a'.repeat(40)}\\`, '{{{{', ''])(
    'covers what is no JSON too: %s',
    (text) => {
      expect(weigh(text).memoryBytes).toBeGreaterThanOrEqual(text.length);
    },
  );

  test.each([[8], [30], [100]])(
    'ends a text at its own quote, however many quotes and backslashes it holds: %i',
    (length) => {
      for (const inner of ['\\"', '\\\\', 'a\\"', '\\\\\\"', 'x'.repeat(30) + '\\"']) {
        expect(weigh(`["${inner.repeat(length)}",[],1]`).values).toBe(4);
      }
    },
  );
});

describe('a body passes', () => {
  test.each([
    ['with 300,000 numbers', () => `[${repeated('123456', 2.1 * MB)}]`],
    ['with a picture of 50 MB', () => `{"messages":[{"content":"😀"},{"image":"${'a'.repeat(50 * MB)}"}]}`],
    ['with 50,000 messages', () => `[${repeated('{"id":"1","role":"user","content":"hi","model":"a"}', 2.5 * MB)}]`],
    ['of whatever shape, while it is short', () => `[${repeated('{}', 2 * MB)}]`],
  ])('%s', (_name, text) => {
    expect(bound(text())).not.toThrow();
  });
});

test('a body with more values than its length allows is refused, with what was found and what to do', () => {
  expect(bound(`{"model":"a","x":[${repeated('{}', 9 * MB)}]}`)).toThrow(
    /holds more than this gateway can check at once\. Found 3,000,00\d values in 9\.0 MB, which take \d+\.\d MB to read\. Allowed for this length are 72\.0 MB\. Send fewer values/,
  );
});

test('a key with an escape doubles what reading takes, wherever it stands', () => {
  const many = repeated('{}', 2 * MB);
  expect(bound(`[${many},{"model":1}]`)).not.toThrow();
  expect(bound(`[${many},{"\\u006dodel":1}]`)).toThrow(/which take \d+\.\d MB to read/);
  expect(bound(`[{"\\u006dodel":1},${many}]`)).toThrow(/which take \d+\.\d MB to read/);
});
