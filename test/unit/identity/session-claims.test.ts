/** Tokens that the secret has signed, with headers and claims that no backend mints; the verdicts are PyJWT's own. */
import { describe, expect, test } from 'vitest';
import { createSessionTokens } from '../../../src/identity/session-token.ts';
import { type Verdict, ODD_CLAIMS, ODD_HEADERS, USUAL_HEADER } from '../../support/gate/odd-tokens.ts';
import { segmentOf, signSegments, signToken } from '../../support/gate/signed-token.ts';
import { TEST_SECRET } from '../../support/gate/session.ts';

/** Long ones are cut in the title of their test. */
const named = (table: readonly (readonly [text: string, verdict: Verdict])[]) =>
  table.map(([text, verdict]) => ({ name: JSON.stringify(text).slice(0, 60), text, verdict }));

const tokens = createSessionTokens({ secretKeys: [TEST_SECRET] });
test.each(named(ODD_HEADERS))('the header $name is $verdict', async ({ text: header, verdict }) => {
  const { state } = await tokens.verify(signToken(header, '{"id":"ada"}'));
  expect(state === 'valid').toBe(verdict === 'taken');
});

test.each(named(ODD_CLAIMS))('the claim $name is $verdict', async ({ text: claims, verdict }) => {
  const { state } = await tokens.verify(signToken(USUAL_HEADER, `{"id":"ada",${claims}}`));
  expect(state === 'valid').toBe(verdict === 'taken');
});

describe('the user', () => {
  test.each([
    ['{"id":"eve","id":"ada"}', 'ada'],
    ['{"id":"eve","\\u0069d":"ada"}', 'ada'],
    ['{"id":"ada","__proto__":{"id":"eve"}}', 'ada'],
    [`\ufeff{"id":"ada"}`, 'ada'],
  ])('of %j is %s', async (payload, userId) => {
    expect(await tokens.verify(signToken(USUAL_HEADER, payload))).toMatchObject({ state: 'valid', userId });
  });

  test.each(['["id"]', '"id"', '{"id":["ada"]}', '{"id":"\\ud800"}', '{"\\u0069D":"ada"}', '', 'null'])(
    'of %j gives no user',
    async (payload) => {
      expect(await tokens.verify(signToken(USUAL_HEADER, payload))).toEqual({ state: 'invalid' });
    },
  );

  test('does not depend on what was read before (nodejs/node#63785)', async () => {
    await tokens.verify(signToken(USUAL_HEADER, '{"id":"eve","\\\\u006":1}'));
    const payload = '{"id":"ada","\\u006aki":"x","\\u006ati":7}';
    expect(await tokens.verify(signToken(USUAL_HEADER, payload))).toEqual({ state: 'invalid' });
  });
});

test.each([1, 2, 3])(
  'a signature whose last two bits are not zero (%i) is one that the backend would forgive',
  async (bits) => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const token = signToken(USUAL_HEADER, '{"id":"ada"}');
    const last = alphabet.charAt(alphabet.indexOf(token.slice(-1)) + bits);
    expect(await tokens.verify(`${token.slice(0, -1)}${last}`)).toEqual({ state: 'invalid' });
  },
);

test('segments that Python cannot decode are refused, with any signature', async () => {
  const [header, payload] = [segmentOf(USUAL_HEADER), segmentOf('{"id":"ada"}')];
  const tooLong = (segment: string) => segment + 'A'.repeat((5 - (segment.length % 4)) % 4 || 4).slice(0);
  for (const [one, other] of [
    [tooLong(header), payload],
    [header, tooLong(payload)],
    [header, ''],
    ['', payload],
  ] as const) {
    expect(await tokens.verify(signSegments(one, other))).toEqual({ state: 'invalid' });
  }
});
