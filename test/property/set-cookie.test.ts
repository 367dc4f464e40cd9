import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CookieRules } from '../../src/config/schema.ts';
import { cookieName, enforceCookie } from '../support/gate/set-cookie.ts';

const rules: fc.Arbitrary<CookieRules> = fc.record({
  secure: fc.boolean(),
  sameSite: fc.constantFrom(undefined, 'lax', 'strict', 'none'),
});
const piece = fc.oneof(
  fc.constantFrom(';', '; ', ' ', '\t', '=', '"', ',', 'Secure', 'secure', 'SameSite', 'samesite=None', 'Path=/', 'a'),
  fc.string({ maxLength: 4 }),
);
const lines = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(''));

/** RFC 6265bis 5.7, written down a second time and as plainly as it can be. */
function asBrowsersRead(line: string) {
  const blank = (text: string) => text.replace(/^[ \t]+/, '').replace(/[ \t]+$/, '');
  const [pair = '', ...rest] = line.split(';');
  const attributes = rest.map((text) => {
    const [, name = '', value = ''] = /^([^=]*)=?([^]*)$/.exec(text) ?? [];
    return { text, name: blank(name).toLowerCase(), value: blank(value).toLowerCase() };
  });
  const others = attributes.filter(({ name }) => name !== 'samesite' && name !== 'secure' && name !== '');
  return {
    pair,
    secure: attributes.some(({ name }) => name === 'secure'),
    sameSite: attributes.filter(({ name }) => name === 'samesite').map(({ value }) => value),
    others: others.map(({ text }) => text),
  };
}

test('a browser reads what the rules ask for, and nothing else has changed', () => {
  fc.assert(
    fc.property(lines, rules, (line, asked) => {
      const before = asBrowsersRead(line);
      const after = asBrowsersRead(enforceCookie(line, asked));
      expect(after.secure).toBe(before.secure || asked.secure);
      expect(after.sameSite).toEqual(asked.sameSite === undefined ? before.sameSite : [asked.sameSite]);
      expect(after.pair).toBe(before.pair);
      expect(after.others).toEqual(before.others);
    }),
    { numRuns: 2_000 },
  );
});

test('doing it twice is doing it once', () => {
  fc.assert(
    fc.property(lines, rules, (line, asked) => {
      const once = enforceCookie(line, asked);
      expect(enforceCookie(once, asked)).toBe(once);
      expect(cookieName(once)).toBe(cookieName(line));
    }),
    { numRuns: 1_000 },
  );
});

test('nothing asked for is nothing done', () => {
  fc.assert(
    fc.property(lines, (line) => {
      expect(enforceCookie(line, { secure: false, sameSite: undefined })).toBe(line);
    }),
  );
});
