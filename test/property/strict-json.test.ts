/**
 * What strict JSON makes of a text is compared with what was written, never with `JSON.parse`, which has a defect here:
 * see `references/json.ts`. Texts are written key by key, so that it is known whether one repeats.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseStrictJson } from '../../src/references/json.ts';

/** A JSON text, what it says, and whether some object in it has a key twice. */
interface Written {
  readonly text: string;
  readonly value: unknown;
  readonly repeats: boolean;
}

const space = fc.constantFrom('', '', ' ', '\n', '\t', ' \r\n');

/** Few names, so that they meet: what a scanner may stumble over, and what V8 takes other keys for. */
const names = fc.constantFrom(
  ...['model', 'a', '', '__proto__', 'constructor', '0', '"', '"}', ':', '{', '}:"', 'é', '\u2028'],
  ...['\\', '\\u', '\\u0', '\\u00', '\\u006', '\\u006d', '\\"', 'm\\u00', 'mo\\u0'],
  // what stands in for such keys while the rest is read
  ...['\u007f', '\u007f0', '\u007f1'],
);

/** One name in one of its spellings: each character as it is, or as `\uXXXX`. */
const spelled = fc.tuple(names, fc.array(fc.boolean(), { minLength: 9, maxLength: 9 })).map(([name, escaped]) => {
  const units = Array.from({ length: name.length }, (_none, at) => name.charAt(at));
  const letters = units.map((unit, at) =>
    escaped[at] === true
      ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
      : unit.replace(/["\\]/, (special) => `\\${special}`),
  );
  return { name, text: `"${letters.join('')}"` };
});

const { value: anyValue } = fc.letrec<{ value: Written; object: Written; array: Written; leaf: Written }>((tie) => ({
  leaf: fc
    .oneof(fc.integer(), fc.boolean(), fc.constant(null), fc.constantFrom('a:b', '{"a":1,"a":2}', '\\"', '\\', '":'))
    .map((value) => ({ text: JSON.stringify(value), value, repeats: false })),
  array: fc.array(fc.tuple(space, tie('value')), { maxLength: 3 }).map((items) => ({
    text: `[${items.map(([gap, { text }]) => `${gap}${text}${gap}`).join(',')}]`,
    value: items.map(([, { value }]) => value),
    repeats: items.some(([, { repeats }]) => repeats),
  })),
  object: fc.array(fc.tuple(spelled, space, space, tie('value')), { maxLength: 4 }).map((entries) => ({
    text: `{${entries.map(([{ text: key }, one, two, { text }]) => `${one}${key}${two}:${one}${text}${two}`).join(',')}}`,
    value: Object.fromEntries(entries.map(([{ name }, , , { value }]) => [name, value])),
    repeats:
      new Set(entries.map(([{ name }]) => name)).size < entries.length ||
      entries.some(([, , , { repeats }]) => repeats),
  })),
  value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, tie('leaf'), tie('object'), tie('array')),
}));

describe('strict JSON', () => {
  test('refuses a text exactly when an object in it repeats a key, and reads every other as it was written', () => {
    const seen = { refused: 0, read: 0 };
    fc.assert(
      fc.property(anyValue, ({ text, value, repeats }) => {
        const read = () => parseStrictJson(Buffer.from(text));
        if (repeats) expect(read, text).toThrow('repeated key');
        else expect(isDeepStrictEqual(read(), value), text).toBe(true);
        seen[repeats ? 'refused' : 'read'] += 1;
      }),
      { numRuns: 3_000 },
    );
    // a generator that never repeats would prove nothing
    expect(Math.min(seen.refused, seen.read)).toBeGreaterThan(100);
  });
});
