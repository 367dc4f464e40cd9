/** Members of a JSON text are those that `JSON.parse` finds, in whatever pieces the text comes. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonMembers } from '../../../src/usage/json-members.ts';
import { split } from '../../support/usage/metered.ts';

const WANTED = ['usage', 'id', 'model', 'é"\\'];
const strings = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('"usage":1', '\\', '\\"', '{"model":', '],', '"', '\u2028', '😀', '\u0000'),
  // longer than what is looped over, with quotes and backslashes at each place
  fc
    .array(fc.constantFrom('\\', '"', 'x'.repeat(63), 'x'.repeat(64), 'é'), { maxLength: 8 })
    .map((parts) => parts.join('')),
);
const values = fc.oneof(
  { withCrossShrink: true },
  fc.jsonValue({ stringUnit: 'binary', maxDepth: 3 }),
  strings,
  fc.array(fc.oneof(strings, fc.integer(), fc.constantFrom(null, true, [], {}, [[1], 2])), { maxLength: 4 }),
);
const names = fc.oneof(fc.constantFrom(...WANTED, 'data', 'a', '', '__proto__'), strings);
const spaces = fc.constantFrom('', ' ', '\n', '\t\r\n ');

/** A JSON text of one object, some characters of its names escaped. */
const objects = fc.array(fc.tuple(names, values, spaces, fc.boolean()), { maxLength: 6 }).map((members) => {
  const written = members.map(([name, value, space, isEscaped]) => {
    const key = isEscaped
      ? `"${[...Array(name.length).keys()].map((at) => `\\u${name.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`
      : JSON.stringify(name);
    return `${space}${key}${space}:${space}${JSON.stringify(value)}${space}`;
  });
  // of names that repeat, the last counts
  const value = new Map(members.map(([name, one]) => [name, JSON.parse(JSON.stringify(one)) as unknown]));
  return { text: `{${written.join(',')}}`, value };
});

function read(chunks: readonly Buffer[]) {
  const found = new Map<string, unknown>();
  const members = new JsonMembers({
    names: new Set(WANTED),
    found: (name, value) => found.set(name, value),
    counted: 'data',
  });
  for (const chunk of chunks) members.write(chunk);
  return { found, elements: members.elements };
}

test('the wanted members of an object and the number of elements are right, wherever its bytes are split', () => {
  const seen = { found: 0, counted: 0 };
  fc.assert(
    fc.property(
      objects,
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 }),
      ({ text, value }, places) => {
        const bytes = Buffer.from(text);
        const ends = places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b);
        const expected = new Map(WANTED.filter((name) => value.has(name)).map((name) => [name, value.get(name)]));
        const { found, elements } = read(split(bytes, ends));
        const sorted = (map: ReadonlyMap<string, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
        expect(isDeepStrictEqual(sorted(found), sorted(expected)), text).toBe(true);
        const data = value.get('data');
        if (Array.isArray(data)) expect(elements, text).toBe(data.length);
        seen.found += found.size;
        seen.counted += elements ?? 0;
      },
    ),
    { numRuns: 3_000 },
  );
  expect(Math.min(seen.found, seen.counted)).toBeGreaterThan(100);
});

test('no bytes make it throw, or give what is no member', () => {
  const bytes = fc.array(
    fc.oneof(
      fc.constantFrom(...'{ } [ ] " , : \\'.split(' '), ' ', '"usage"', '1', 'é').map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 3 }).map((some) => Buffer.from(some)),
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(bytes, (chunks) => {
      const { found } = read(chunks);
      for (const name of found.keys()) expect(WANTED).toContain(name);
    }),
    { numRuns: 3_000 },
  );
});

test('a member of more than 64 KB is not read, and the next is', () => {
  const text = JSON.stringify({ usage: { long: 'x'.repeat(70_000) }, model: 'm' });
  const { found } = read(split(Buffer.from(text), [10, 30_000, 66_000]));
  expect([...found]).toEqual([['model', 'm']]);
});
