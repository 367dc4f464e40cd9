import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isReadable, readCredentials, toHeaderEdit } from '../../src/identity/credential.ts';
import { applyEdit } from '../support/gate/apply-edit.ts';
import { credentialLines } from '../support/gate/credential-lines.ts';

const session = (letter: string): string => `${letter}hdr.${letter}pay.${letter.repeat(43)}`;
const TEXTS = [
  session('a'),
  session('b'),
  `${session('c')}=`,
  `${session('d')} x`,
  `eyJ${session('e')}=`,
  `eyJ${session('f')} x`,
  'sk-0123456789abcdef',
  'sk-with "quotes"',
  'sk-with;semicolon',
  'scim',
  '',
];

const valuesOf = (lines: readonly string[], name: string): string[] =>
  lines.filter((_, at) => at % 2 === 1 && lines[at - 1]?.toLowerCase() === name);

/** Python's `str.strip()` and `http.cookies._unquote`, written from their sources and independently of ours. */
const strip = (text: string): string =>
  /^[\t-\r\x1c-\x20\x85\xa0]*([^]*?)[\t-\r\x1c-\x20\x85\xa0]*$/.exec(text)?.[1] ?? '';
function unquote(text: string): string {
  if (text.length < 2 || text[0] !== '"' || text.at(-1) !== '"') return text;
  let rest = text.slice(1, -1);
  let out = '';
  while (rest !== '') {
    const octal = /^\\([0-3][0-7][0-7])/.exec(rest)?.[1];
    const taken = octal === undefined ? (/^\\[^\n]/.test(rest) ? 2 : 1) : 4;
    out += octal === undefined ? rest.slice(taken - 1, taken) : String.fromCharCode(Number.parseInt(octal, 8));
    rest = rest.slice(taken);
  }
  return out;
}

/** Starlette's `request.cookies`: the first line only (to 0.6 and later), or every line, the last pair winning. */
function tokenCookie(lines: readonly string[], everyLine: boolean): string | undefined {
  const headers = valuesOf(lines, 'cookie');
  const pairs = (everyLine ? headers : headers.slice(0, 1))
    .flatMap((line) => line.split(';'))
    .map((chunk) =>
      chunk.includes('=') ? [chunk.slice(0, chunk.indexOf('=')), chunk.slice(chunk.indexOf('=') + 1)] : ['', chunk],
    )
    .filter(([name = '']) => strip(name) === 'token');
  const last = pairs.at(-1)?.[1];
  return last === undefined ? undefined : unquote(strip(last));
}

interface Era {
  readonly everyCookieLine: boolean;
  readonly stripsBearer: boolean;
  /** The header of the API key, where this era reads one. */
  readonly keyHeader: string | undefined;
}

/** Every text that some code path of an era takes as a token, in its order: the first is what logs the user in. */
function seen(lines: readonly string[], era: Era): string[] {
  const [authorization = ''] = valuesOf(lines, 'authorization');
  const [scheme = '', ...words] = authorization.split(' ');
  const rest = era.stripsBearer ? strip(words.join(' ')) : words.join(' ');
  const found: (string | undefined)[] = [scheme.toLowerCase() === 'bearer' && rest !== '' ? rest : undefined];
  found.push(tokenCookie(lines, era.everyCookieLine));
  // Also where no era logs in with it, other routes and the tools' session tokens go by it.
  found.push(words.length === 1 ? words[0] : undefined);
  if (era.keyHeader !== undefined) found.push(valuesOf(lines, era.keyHeader)[0] || undefined);
  return found.filter((text) => text !== undefined);
}

const CUSTOM = 'x-open-webui-key';
const eras = (everyCookieLine: boolean, stripsBearer: boolean): Era[] =>
  [undefined, 'x-api-key', CUSTOM].map((keyHeader) => ({ everyCookieLine, stripsBearer, keyHeader }));
const ERAS: readonly Era[] = [...eras(false, false), ...eras(true, false), ...eras(false, true), ...eras(true, true)];
const NEWEST: Era = { everyCookieLine: true, stripsBearer: true, keyHeader: CUSTOM };

/** What is left of a Cookie header without its `token` pairs, separators aside. */
const otherCookies = (lines: readonly string[]): string[] =>
  valuesOf(lines, 'cookie')
    .flatMap((line) => line.split(';'))
    .filter((chunk) => !chunk.includes('=') || strip(chunk.slice(0, chunk.indexOf('='))) !== 'token')
    .map((chunk) => chunk.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((chunk) => chunk !== '');

const RUNS = { numRuns: 3_000 };
const lines = credentialLines(TEXTS, CUSTOM);
const read = (sent: readonly string[]): ReturnType<typeof readCredentials> =>
  readCredentials(sent, { apiKeyHeader: CUSTOM });
const forward = (sent: readonly string[]): string[] => applyEdit(sent, toHeaderEdit(read(sent)));

describe('for every combination of header lines', () => {
  it('no version of the backend finds anything but the judged credential in what is sent on', () => {
    fc.assert(
      fc.property(lines, (sent) => {
        const { judged } = read(sent);
        const after = forward(sent);
        const texts = new Set(ERAS.flatMap((era) => seen(after, era)).map(strip));
        const goesOn = judged !== undefined && judged.form !== 'misspelled';
        expect(goesOn ? [strip(judged.text)] : []).toEqual(expect.arrayContaining([...texts]));
        if (judged === undefined || !isReadable(judged)) return;
        for (const era of ERAS) expect(seen(after, era)[0]).toBe(judged.text);
      }),
      RUNS,
    );
  });

  it('the judged credential is the one that the newest version would have taken', () => {
    fc.assert(
      fc.property(lines, (sent) => {
        const { judged } = read(sent);
        const [taken] = seen(sent, NEWEST);
        if (judged === undefined || judged.place === 'other' || judged.place === 'x-api-key')
          expect(taken).toBeUndefined();
        else expect(taken).toBe(judged.text);
      }),
      RUNS,
    );
  });

  it('everything that any version would have taken is among the credentials found', () => {
    fc.assert(
      fc.property(lines, (sent) => {
        const found = new Set(read(sent).all.map((one) => strip(one.text)));
        expect(ERAS.flatMap((era) => seen(sent, era)).filter((text) => !found.has(strip(text)))).toEqual([]);
      }),
      RUNS,
    );
  });

  it('the other cookies and all other lines keep their bytes and their order', () => {
    fc.assert(
      fc.property(lines, (sent) => {
        const after = forward(sent);
        expect(otherCookies(after)).toEqual(otherCookies(sent));
        for (const name of ['accept', 'origin', 'content-type'])
          expect(valuesOf(after, name)).toEqual(valuesOf(sent, name));
      }),
      RUNS,
    );
  });

  it('what was edited needs no further edit', () => {
    fc.assert(
      fc.property(lines, (sent) => {
        const after = forward(sent);
        expect(forward(after)).toEqual(after);
        expect(toHeaderEdit(read(after))).toEqual({ remove: new Set(), add: [] });
      }),
      RUNS,
    );
  });
});
