/** The gate takes no token that the backend's own PyJWT refuses; both are asked about any that the secret signs. */
import { spawn } from 'node:child_process';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { hasSessionShape } from '../../src/identity/credential.ts';
import { createSessionTokens, type VerifiedToken } from '../../src/identity/session-token.ts';
import { ODD_CLAIMS, ODD_HEADERS, USUAL_HEADER } from '../support/gate/odd-tokens.ts';
import { TEST_SECRET } from '../support/gate/session.ts';
import { segmentOf, signSegments, signToken } from '../support/gate/signed-token.ts';
import { installOpenWebui } from './install.ts';
import { RELEASES, type Release } from './release.ts';

const TOKENS = 5_000;

/** `null`: refused. `id` is null where the claim is no text. */
type Reading = { readonly id: string | null } | null;

async function readWithBackend(release: Release, tokens: readonly string[]): Promise<Reading[]> {
  const { python } = await installOpenWebui(release);
  const child = spawn(python, [fileURLToPath(new URL('session_tokens.py', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 100_000,
  });
  child.stdin.end(JSON.stringify({ secret: TEST_SECRET, tokens }));
  return JSON.parse(await readAll(child.stdout)) as Reading[];
}

const rarely = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: usual }, { weight: 1, arbitrary: odd });
const oneOf = (...texts: readonly string[]) => fc.constantFrom(...texts);

/** JSON of any value, and what only Python takes for one. */
const value = oneOf(
  ...['1', '0', '-1', '1.5', '1e3', '1e400', 'true', 'false', 'null', '""', '"a"', '"7"', '" 7 "', '"1_0"', '"x"'],
  ...['[]', '{}', '["b64"]', '["exp"]', '[1]', '{"a":1}', 'NaN', '-Infinity', '9999999999', '"9999999999"'],
  ...['"\\ud800"', '"\u0001"', '01', '1.', '"HS256"', '"none"', `${'['.repeat(80)}${']'.repeat(80)}`],
  ...[`${'['.repeat(3_000)}${']'.repeat(3_000)}`, `1${'0'.repeat(400)}`, `1${'0'.repeat(5_000)}`],
);
const spelled = (name: string) =>
  rarely(fc.constant(`"${name}"`), fc.constant(`"\\u00${name.charCodeAt(0).toString(16)}${name.slice(1)}"`));
const entry = (...names: readonly string[]) =>
  oneOf(...names)
    .chain(spelled)
    .chain((name) => value.map((of) => `${name}:${of}`));
const space = rarely(fc.constant(''), oneOf(' ', '\n', '\t', '\ufeff', '\u00a0', '\f'));

const object = (wanted: readonly string[], names: readonly string[]) =>
  fc
    .tuple(
      space,
      fc.shuffledSubarray([...wanted], { minLength: wanted.length }),
      fc.array(entry(...names), { maxLength: 2 }),
      space,
    )
    .chain(([before, own, others, after]) =>
      fc
        .shuffledSubarray([...own, ...others], { minLength: own.length + others.length })
        .map((all) => `${before}{${all.join(',')}}${after}`),
    );
const header = rarely(
  object(['"alg":"HS256"'], ['typ', 'kid', 'b64', 'crit', 'cty', 'alg', 'jwk', 'zip', '__proto__']),
  value,
);
const payload = rarely(
  object(['"id":"ada"'], ['exp', 'nbf', 'iat', 'aud', 'iss', 'sub', 'jti', 'id', 'typ', 'x', '__proto__']),
  value,
);
/** As `JSON.stringify` of a token library would have it, or with something more. */
const segment = (text: fc.Arbitrary<string>) =>
  fc
    .tuple(text, rarely(fc.constant('utf8' as const), fc.constantFrom('utf16le' as const, 'latin1' as const)))
    .chain(([of, encoding]) => {
      const exact = segmentOf(Buffer.from(of, encoding));
      return rarely(
        fc.constant(exact),
        oneOf('A', 'AA', '=', '.', ' ', '-').map((more) => exact + more),
      );
    });
const token = fc
  .tuple(segment(header), segment(payload), rarely(fc.constant(''), oneOf('A', '=', '==', ' ', '!')))
  .map(([first, second, more]) => signSegments(first, second) + more);

describe.each(RELEASES)('session tokens, read by Open WebUI %s', (release) => {
  const tokens = fc.sample(token, { numRuns: TOKENS, seed: 20_261_201 });
  const ours: VerifiedToken[] = [];
  let theirs: Reading[];

  beforeAll(async () => {
    const sessions = createSessionTokens({ secretKeys: [TEST_SECRET] });
    for (const one of tokens) ours.push(await sessions.verify(one));
    theirs = await readWithBackend(release, tokens);
  });

  const each = (check: (verified: VerifiedToken, reading: Reading, token: string) => void): void => {
    tokens.forEach((one, at) => {
      const [verified, reading] = [ours[at], theirs[at]];
      if (verified === undefined || reading === undefined) throw new Error('the backend answered too little');
      try {
        check(verified, reading, one);
      } catch (cause) {
        const parts = one.split('.').map((part) => Buffer.from(part, 'base64url').toString().slice(0, 200));
        throw new Error(`${JSON.stringify(parts)} is ${JSON.stringify({ verified, reading })}`, { cause });
      }
    });
  };

  it('had enough of both kinds to read', () => {
    expect(ours.filter(({ state }) => state === 'valid').length).toBeGreaterThan(TOKENS / 20);
    expect(theirs.filter((reading) => reading === null).length).toBeGreaterThan(TOKENS / 20);
  });

  it('give the gate no user that they do not give the backend', () => {
    each((verified, reading) => {
      if (verified.state === 'valid') expect(reading?.id).toBe(verified.userId);
    });
  });

  it('are refused by the gate alone only for what no backend mints', () => {
    const onlyPython = /NaN|Infinity|\d{300}|\[{64}|\u0000|"\\ud800"/;
    each((verified, reading, one) => {
      if (verified.state === 'valid' || reading?.id !== 'ada' || !hasSessionShape(one)) return;
      const [first = '', second = ''] = one.split('.').map((part) => Buffer.from(part, 'base64url').toString());
      const isOfOtherRelease = /crit|kid|typ|b64/.test(first + second) || /\\u00/.test(first + second);
      expect(onlyPython.test(first + second) || isOfOtherRelease).toBe(true);
    });
  });
});

it('the table of odd headers and claims says what both releases say', async () => {
  const table = [
    ...ODD_HEADERS.map(([header, verdict]) => ({ token: signToken(header, '{"id":"ada"}'), of: header, verdict })),
    ...ODD_CLAIMS.map(([claims, verdict]) => ({
      token: signToken(USUAL_HEADER, `{"id":"ada",${claims}}`),
      of: claims,
      verdict,
    })),
  ];
  const read: Reading[][] = [];
  for (const release of RELEASES)
    read.push(
      await readWithBackend(
        release,
        table.map(({ token: one }) => one),
      ),
    );
  const seen = table.map(({ of }, at) => ({
    of,
    verdict: read.every((readings) => readings[at]?.id === 'ada') ? 'taken' : 'refused',
  }));
  expect(seen).toEqual(table.map(({ of, verdict }) => ({ of, verdict })));
});
