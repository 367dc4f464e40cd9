import fc from 'fast-check';

/** Octal escapes for every character, as only a quoted cookie value may have them. */
const escaped = (text: string): string =>
  Buffer.from(text, 'latin1').reduce((all, byte) => `${all}\\${byte.toString(8).padStart(3, '0')}`, '');

const SPELLINGS: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text,
  (text) => `"${text}"`,
  (text) => `"${escaped(text)}"`,
  (text) => `"\\${text}"`,
  (text) => ` ${text}\xa0`,
  (text) => `"${text}`,
];

const OTHER_COOKIES = [
  'theme=dark',
  '_ga=GA1.2.3',
  'tokens=x',
  'Token=x',
  'token',
  'q="a;b"',
  'x=token=y',
  '',
  '=',
  'é=ü',
];

/**
 * Header lines as a hostile or merely odd client sends them: credentials drawn from `texts` in every place and
 * spelling that some backend version reads, and in some that none does. Values are trimmed, as HTTP parsers leave them.
 */
export function credentialLines(texts: readonly string[], apiKeyHeader: string): fc.Arbitrary<string[]> {
  // Few texts in one request, so that the same one stands in several places.
  return fc
    .subarray([...texts], { minLength: 1, maxLength: 4 })
    .chain((few) => linesOf(fc.constantFrom(...few), apiKeyHeader));
}

function linesOf(text: fc.Arbitrary<string>, apiKeyHeader: string): fc.Arbitrary<string[]> {
  const authorization = fc
    .tuple(
      fc.constantFrom('Authorization', 'authorization', 'AUTHORIZATION'),
      fc.constantFrom('Bearer', 'Bearer', 'bearer', 'BEARER', 'Token', 'Basic', ''),
      fc.constantFrom(' ', ' ', '  ', '\t', ' \xa0', ''),
      text,
    )
    .map(([name, scheme, separator, value]) => [name, scheme + separator + value]);
  const tokenCookie = fc
    .tuple(fc.constantFrom('token=', 'token=', 'token =', '\x85token='), fc.constantFrom(...SPELLINGS), text)
    .map(([name, spell, value]) => name + spell(value));
  const cookie = fc
    .tuple(
      fc.constantFrom('Cookie', 'cookie'),
      fc.array(fc.oneof(tokenCookie, fc.constantFrom(...OTHER_COOKIES)), { minLength: 1, maxLength: 4 }),
      fc.constantFrom('; ', ';', ' ;  '),
    )
    .map(([name, pairs, separator]) => [name, pairs.join(separator)]);
  const key = fc.tuple(fc.constantFrom('x-api-key', 'X-Api-Key', apiKeyHeader), fc.oneof(text, fc.constant('')));
  const other = fc.constantFrom(['Accept', '*/*'], ['Origin', 'token=x'], ['Content-Type', 'application/json']);
  return fc
    .array(fc.oneof(authorization, cookie, key, other), { maxLength: 5 })
    .map((lines) => lines.flatMap(([name = '', value = '']) => [name, value.replace(/^[ \t]+|[ \t]+$/g, '')]));
}
