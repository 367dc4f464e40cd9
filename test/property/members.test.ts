/** Members of a JSON object set in its bytes: what comes out says what was set, and all other bytes are as they were. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isObject, parseStrictJson } from '../../src/references/json.ts';
import { type Members, placeOf, setMembers } from '../../src/references/members.ts';

const NAMES = { stream_options: { include_usage: {} }, user: {}, metadata: { user_id: {} } };

const space = fc.constantFrom('', '', ' ', '\n', '\t', ' \r\n');
/** Keys in any spelling: each character as it is, or as `\uXXXX`. */
const spelled = (name: string) =>
  fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }).map((escaped) => {
    const letters = name.split('').map((letter, at) => {
      const code = letter.charCodeAt(0).toString(16).padStart(4, '0');
      return escaped[at] === true && escaped[0] === true ? `\\u${code}` : JSON.stringify(letter).slice(1, -1);
    });
    return `"${letters.join('')}"`;
  });
const name = fc.constantFrom('stream_options', 'include_usage', 'user', 'user_id', 'metadata', 'model', 'é', '"}{', '');

const { text } = fc.letrec<{ text: string; object: string }>((tie) => ({
  text: fc.oneof(
    { depthSize: 'medium' },
    fc.constantFrom('null', '1', 'true', '"u"', '"\\""', '"a}\\\\"', '"é,{"', '[]', '{}', '{ }', '[{"user":1},"]"]'),
    fc.array(tie('text'), { maxLength: 2 }).map((items) => `[${items.join(' , ')}]`),
    tie('object'),
  ),
  object: objectOf(tie('text')),
}));

function objectOf(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const member = (key: string) =>
    fc.tuple(space, spelled(key), space, space, value, space).map(([a, quoted, b, c, one, d]) => {
      return `${a}${quoted}${b}:${c}${one}${d}`;
    });
  const members = fc.uniqueArray(name, { maxLength: 6 }).chain((keys) => fc.tuple(...keys.map(member)));
  return fc.tuple(members, space).map(([all, gap]) => (all.length === 0 ? `{${gap}}` : `{${all.join(',')}}`));
}
const body = fc.tuple(space, objectOf(text), space).map((parts) => parts.join(''));

const members: fc.Arbitrary<Members> = fc.record(
  {
    stream_options: fc.constant({ include_usage: true }),
    user: fc.constantFrom('acme_user_1', 'é"\\'),
    metadata: fc.constant({ user_id: 'acme' }),
  },
  { requiredKeys: [] },
);

function withMembers(value: unknown, set: unknown): unknown {
  if (!isObject(set)) return set;
  const known = isObject(value) ? value : {};
  const own = Object.entries(set).map(([key, one]) => [key, withMembers(known[key], one)] as const);
  return { ...known, ...Object.fromEntries(own) };
}

function edited(written: string, set: Members): { readonly parts: readonly Buffer[]; readonly before: Buffer } {
  const before = Buffer.from(written);
  const place = placeOf(before, parseStrictJson(before), NAMES);
  if (place === undefined) throw new Error('no object');
  return { parts: setMembers(before, place, set), before };
}

describe('members that are set', () => {
  test('are what the new body says, beside all that it has said', () => {
    fc.assert(
      fc.property(body, members, (written, set) => {
        const { parts, before } = edited(written, set);
        expect(parseStrictJson(Buffer.concat(parts))).toEqual(withMembers(parseStrictJson(before), set));
      }),
      { numRuns: 2000 },
    );
  });

  test('change no other byte', () => {
    fc.assert(
      fc.property(body, members, (written, set) => {
        const { parts, before } = edited(written, set);
        // every second part is ours; the others are the bytes that came, in their places
        let from = 0;
        for (const kept of parts.filter((_part, at) => at % 2 === 0)) {
          expect(kept.buffer).toBe(before.buffer);
          const at = kept.byteOffset - before.byteOffset;
          expect(at).toBeGreaterThanOrEqual(from);
          const cut = before.subarray(from, at);
          // what is left out is one value
          if (cut.length > 0) expect(() => JSON.parse(cut.toString()) as unknown).not.toThrow();
          from = at + kept.length;
        }
        expect(from).toBe(before.length);
      }),
      { numRuns: 2000 },
    );
  });
});

test('a long body is neither copied nor looked through where a member is new', () => {
  const { parts, before } = edited(`{"model":"A","x":"${'a'.repeat(1000)}"}`, { user: 'u' });
  expect(parts.map(String)).toEqual(['{', '"user":"u",', String(before).slice(1)]);
  expect(parts.at(-1)?.buffer).toBe(before.buffer);
});
