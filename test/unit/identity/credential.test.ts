import { describe, expect, it, test } from 'vitest';
import { readCredentials, toHeaderEdit } from '../../../src/identity/credential.ts';
import { applyEdit } from '../../support/gate/apply-edit.ts';

const segment = (letter: string): string => `${letter}hdr.${letter}pay.${letter.repeat(43)}`;
const A = segment('a');
const B = segment('b');
const KEY = 'sk-0123456789abcdef0123456789abcdef';
const JUNK = 'not-a-token';

interface Case {
  readonly name: string;
  readonly sent: readonly string[];
  /** `place text`, or undefined where the backend would read nothing. */
  readonly judged: string | undefined;
  /** The lines that go on; left out where nothing changes. */
  readonly forwarded?: readonly string[];
  readonly apiKeyHeader?: string;
}

/** Rows of the reference's tables on precedence and quirks, each as one request. */
const precedence: readonly Case[] = [
  { name: 'a bearer token alone goes on as it is', sent: ['Authorization', `Bearer ${A}`], judged: `bearer ${A}` },
  { name: 'a token cookie alone goes on as it is', sent: ['Cookie', `token=${A}`], judged: `cookie ${A}` },
  { name: 'an API key as bearer goes on as it is', sent: ['Authorization', `Bearer ${KEY}`], judged: `bearer ${KEY}` },
  {
    name: 'an API key in the token cookie goes on as it is',
    sent: ['Cookie', `token=${KEY}`],
    judged: `cookie ${KEY}`,
  },
  { name: 'a request without credentials goes on as it is', sent: ['Cookie', 'theme=dark'], judged: undefined },
  {
    name: 'the bearer token wins over the cookie, which is dropped',
    sent: ['Cookie', `token=${B}`, 'Authorization', `Bearer ${A}`],
    judged: `bearer ${A}`,
    forwarded: ['Authorization', `Bearer ${A}`],
  },
  {
    name: 'what browsers send, the same token twice, goes on once, beside the other cookies',
    sent: ['authorization', `Bearer ${A}`, 'cookie', `_ga=1; token=${A}; theme="d;ark"`],
    judged: `bearer ${A}`,
    forwarded: ['authorization', `Bearer ${A}`, 'cookie', '_ga=1; theme="d;ark"'],
  },
  {
    name: 'the cookie wins over another scheme, which is dropped',
    sent: ['Authorization', 'Basic dXNlcjpwYXNz', 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['Cookie', `token=${A}`],
  },
  {
    name: 'the cookie wins over an API key header',
    sent: ['x-api-key', KEY, 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['Cookie', `token=${A}`],
  },
  {
    name: 'an empty cookie counts too and hides the API key header',
    sent: ['x-api-key', KEY, 'Cookie', 'token='],
    judged: 'cookie ',
    forwarded: ['Cookie', 'token='],
  },
  {
    name: 'another scheme with exactly two words is read, and goes on as a bearer token',
    sent: ['Authorization', `Token ${A}`],
    judged: `scheme ${A}`,
    forwarded: ['authorization', `Bearer ${A}`],
  },
  {
    name: 'another scheme hides the API key header',
    sent: ['Authorization', 'Basic dXNlcjpwYXNz', 'x-api-key', KEY],
    judged: 'scheme dXNlcjpwYXNz',
    forwarded: ['Authorization', 'Basic dXNlcjpwYXNz'],
  },
  {
    name: 'an API key header is read last, and goes on as a bearer token',
    sent: ['X-Api-Key', KEY],
    judged: `api-key ${KEY}`,
    forwarded: ['authorization', `Bearer ${KEY}`],
  },
  {
    name: 'a session token in the API key header is read as well',
    sent: ['x-api-key', A],
    judged: `api-key ${A}`,
    forwarded: ['authorization', `Bearer ${A}`],
  },
  {
    name: 'the configured API key header goes before the default one',
    sent: ['x-api-key', 'sk-other', 'X-Open-Webui-Key', KEY],
    judged: `api-key ${KEY}`,
    forwarded: ['authorization', `Bearer ${KEY}`],
    apiKeyHeader: 'x-open-webui-key',
  },
  {
    name: 'the default API key header is still read where another is configured',
    sent: ['x-api-key', KEY],
    judged: `x-api-key ${KEY}`,
    forwarded: ['authorization', `Bearer ${KEY}`],
    apiKeyHeader: 'x-open-webui-key',
  },
  {
    name: 'a bare key is read where Authorization itself is the configured API key header',
    sent: ['Authorization', KEY],
    judged: `api-key ${KEY}`,
    forwarded: ['authorization', `Bearer ${KEY}`],
    apiKeyHeader: 'authorization',
  },
];

const quirks: readonly Case[] = [
  {
    name: 'the scheme may be written in any letter case',
    sent: ['AUTHORIZATION', `bEaReR ${A}`],
    judged: `bearer ${A}`,
    forwarded: ['authorization', `Bearer ${A}`],
  },
  {
    name: 'a tab after Bearer makes it no bearer token, and the cookie counts',
    sent: ['Authorization', `Bearer\t${B}`, 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['Cookie', `token=${A}`],
  },
  {
    name: 'a tab after Bearer alone is no credential, and goes on for SCIM, which splits on tabs',
    sent: ['Authorization', `Bearer\t${A}`],
    judged: `other Bearer\t${A}`,
  },
  {
    name: 'a bare key in Authorization is nothing, and leaves the same key in the cookie its meaning',
    sent: ['Authorization', KEY, 'Cookie', `token="${KEY}"`],
    judged: `cookie ${KEY}`,
    forwarded: ['cookie', `token=${KEY}`],
  },
  {
    name: 'Bearer with nothing after it is absent, and the cookie counts',
    sent: ['Authorization', 'Bearer', 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['Cookie', `token=${A}`],
  },
  {
    name: 'two spaces after Bearer, which only newer versions forgive, become one',
    sent: ['Authorization', `Bearer  ${A}`],
    judged: `bearer ${A}`,
    forwarded: ['authorization', `Bearer ${A}`],
  },
  {
    name: 'white space that only Python strips does not stay on the token',
    sent: ['Authorization', `Bearer ${A}\xa0`, 'Cookie', '\x85token\xa0=\xa0x'],
    judged: `bearer ${A}`,
    forwarded: ['authorization', `Bearer ${A}`],
  },
  {
    name: 'a bearer of only such white space is absent for newer versions, and the cookie counts',
    sent: ['Authorization', 'Bearer \xa0', 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['Cookie', `token=${A}`],
  },
  {
    name: 'three words after all are one opaque bearer token',
    sent: ['Authorization', `Bearer ${A} =`, 'Cookie', `token=${B}`],
    judged: `bearer ${A} =`,
    forwarded: ['Authorization', `Bearer ${A} =`],
  },
  {
    name: 'of two Authorization lines the first counts and goes on',
    sent: ['Authorization', `Bearer ${A}`, 'Authorization', `Bearer ${B}`],
    judged: `bearer ${A}`,
    forwarded: ['authorization', `Bearer ${A}`],
  },
  {
    name: 'an empty first Authorization line hides the second',
    sent: ['Authorization', '', 'Authorization', `Bearer ${B}`, 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['Cookie', `token=${A}`],
  },
  {
    name: 'a hidden line alone goes nowhere',
    sent: ['Authorization', '', 'Authorization', `Bearer ${B}`],
    judged: undefined,
    forwarded: [],
  },
  {
    name: 'of two token cookies in a line the last counts, in its place',
    sent: ['Cookie', `a=1; token=${B}; b=2; token=${A}; c=3`],
    judged: `cookie ${A}`,
    forwarded: ['cookie', `a=1; b=2; token=${A}; c=3`],
  },
  {
    name: 'of two Cookie lines the last token counts, and all cookies go on in one line',
    sent: ['Cookie', `a=1; token=${B}`, 'Accept', '*/*', 'Cookie', `token=${A}; b=2`],
    judged: `cookie ${A}`,
    forwarded: ['Accept', '*/*', 'cookie', `a=1; token=${A}; b=2`],
  },
  {
    name: 'a token in the second Cookie line, which old versions do not read, moves to the first',
    sent: ['Cookie', 'a=1', 'Cookie', `token=${A}`],
    judged: `cookie ${A}`,
    forwarded: ['cookie', `a=1; token=${A}`],
  },
  {
    name: 'two Cookie lines without a token go on as they are',
    sent: ['Cookie', 'a=1', 'Cookie', 'b=2', 'Authorization', `Bearer ${A}`],
    judged: `bearer ${A}`,
  },
  {
    name: 'a quoted cookie is unquoted',
    sent: ['Cookie', `token="${A}"`],
    judged: `cookie ${A}`,
    forwarded: ['cookie', `token=${A}`],
  },
  {
    name: 'a quoted cookie has octal escapes, and escaped characters stand for themselves',
    sent: ['Cookie', `token="\\163k\\-\\x1"`],
    judged: 'cookie sk-x1',
    forwarded: ['cookie', 'token=sk-x1'],
  },
  {
    name: 'an escape that would not survive in a cookie stays spelled as it was, and is opaque',
    sent: ['Cookie', `a=1; token="sk-\\012\\073"`],
    judged: 'cookie sk-\n;',
  },
  {
    name: 'a comma does not separate cookies',
    sent: ['Cookie', `token=${A}, token=${B}`],
    judged: `cookie ${A}, token=${B}`,
  },
  {
    name: 'nothing is percent-decoded',
    sent: ['Cookie', `token=${A}%20`],
    judged: `cookie ${A}%20`,
  },
  {
    name: 'the cookie name is matched in its exact case',
    sent: ['Cookie', `Token=${A}; TOKEN=${B}`],
    judged: undefined,
  },
  { name: 'a cookie without an equals sign has no name', sent: ['Cookie', 'token'], judged: undefined },
  {
    name: 'of two API key lines the first counts',
    sent: ['x-api-key', KEY, 'x-api-key', 'sk-other'],
    judged: `api-key ${KEY}`,
    forwarded: ['authorization', `Bearer ${KEY}`],
  },
];

const opaque: readonly Case[] = [
  { name: 'a SCIM token as bearer', sent: ['Authorization', `Bearer ${JUNK}`], judged: `bearer ${JUNK}` },
  { name: 'Basic credentials', sent: ['Authorization', 'Basic dXNlcjpwYXNz'], judged: 'scheme dXNlcjpwYXNz' },
  { name: 'an unknown API key header value', sent: ['X-API-KEY', JUNK], judged: `api-key ${JUNK}` },
  { name: 'a lower-case bearer', sent: ['authorization', `bearer ${JUNK}`], judged: `bearer ${JUNK}` },
  { name: 'a cookie in a line with others', sent: ['Cookie', `a=1;token = "x" ;b=2`], judged: 'cookie x' },
];

function check({ sent, judged, forwarded = sent, apiKeyHeader = 'x-api-key' }: Case): void {
  const credentials = readCredentials(sent, { apiKeyHeader });
  const found = credentials.judged;
  expect(found && `${found.place} ${found.text}`).toBe(judged);
  const after = applyEdit(sent, toHeaderEdit(credentials));
  expect(after).toEqual(forwarded);
}

describe('the order of precedence', () => {
  it.each(precedence)('$name', check);
});

describe('the quirks of the backend', () => {
  it.each(quirks)('$name', check);
});

describe('a session token with foreign characters in its signature, which PyJWT would skip', () => {
  const token = `eyJ${A}`;
  it.each([
    `${token}=`,
    `${token} =`,
    `${token.slice(0, -4)}+${token.slice(-3)}`,
    `${token.slice(0, -9)}!${token.slice(-9)}`,
  ])('%s is no credential, and is not forwarded', (text) => {
    for (const sent of [
      ['Authorization', `Bearer ${text}`],
      ['Authorization', `Bearer ${text}`, 'Cookie', `token=${A}`],
      ['Cookie', `token=${text}`],
      ['x-api-key', text],
    ]) {
      const credentials = readCredentials(sent, { apiKeyHeader: 'x-api-key' });
      expect(credentials.judged?.form).toBe('misspelled');
      expect(applyEdit(sent, toHeaderEdit(credentials))).toEqual([]);
    }
  });
});

test('a session token that ends in a character that no library writes is no credential, and is not forwarded', () => {
  const written = 'eyJh.eyJp.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA';
  const formOf = (text: string) => readCredentials(['Authorization', `Bearer ${text}`], { apiKeyHeader: 'x-api-key' });
  expect(formOf(written).judged?.form).toBe('session');
  for (const last of 'BCDz9-') {
    const credentials = formOf(`${written.slice(0, -1)}${last}`);
    expect(credentials.judged?.form).toBe('misspelled');
    expect(applyEdit(['Authorization', `Bearer ${written.slice(0, -1)}${last}`], toHeaderEdit(credentials))).toEqual(
      [],
    );
  }
});

describe('a credential that is neither session token nor key', () => {
  it.each(opaque)('$name is opaque and stays in its place and spelling', (one) => {
    check(one);
    expect(readCredentials(one.sent, { apiKeyHeader: 'x-api-key' }).judged?.form).toBe('opaque');
  });

  it('goes on once: the first line of a repeated opaque header, spelled as it came', () => {
    check({
      name: '',
      sent: ['Authorization', 'Basic first', 'Authorization', 'Basic second'],
      judged: 'scheme first',
      forwarded: ['authorization', 'Basic first'],
    });
  });
});

it('an edit that changes nothing is always the same object', () => {
  const edits = [
    ['Authorization', `Bearer ${A}`],
    ['Accept', '*/*'],
    ['Cookie', `token=${B}`],
  ].map((lines) => toHeaderEdit(readCredentials(lines, { apiKeyHeader: 'x-api-key' })));
  expect(new Set(edits).size).toBe(1);
});

it('a Cookie line full of blanks is read at once: quadratic work on this one would outlast the time limit', () => {
  const blanks = ' '.repeat(400_000);
  const lines = ['Cookie', `x${blanks}x; token=${blanks}y${blanks}z; a=${blanks}b`];
  expect(readCredentials(lines, { apiKeyHeader: 'x-api-key' }).judged?.text).toBe(`y${blanks}z`);
});
