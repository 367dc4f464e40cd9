import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { createSessionTokens } from '../../../src/identity/session-token.ts';
import { TEST_SECRET, mintSession, mintSession06 } from '../../support/gate/session.ts';

const USER = '0b9c2f9e-1d2c-4b3a-8f6e-5d4c3b2a1908';
const VALID = { state: 'valid', userId: USER };
const tokens = createSessionTokens({ secretKeys: [TEST_SECRET] });
const nowSeconds = (): number => Math.floor(Date.now() / 1000);

describe('a session token of the backend', () => {
  it('is valid as 0.6 mints it, without an expiry', async () => {
    expect(await tokens.verify(await mintSession06(USER))).toMatchObject(VALID);
  });

  it('is valid as 0.12 mints it', async () => {
    expect(await tokens.verify(await mintSession(USER))).toMatchObject(VALID);
  });

  it('says the stamp of the account that it was made for, from 0.12', async () => {
    const stampOf = async (session_stamp: unknown) =>
      tokens.verify(await mintSession(USER, { claims: { session_stamp } }));
    expect(await stampOf('a-stamp')).toMatchObject({ ...VALID, stamp: 'a-stamp' });
    expect(await stampOf(null)).toMatchObject({ ...VALID, stamp: null });
    expect(await tokens.verify(await mintSession06(USER))).toEqual({ ...VALID, jti: '' });
  });

  it('says by which name it is ended, and when it was issued', async () => {
    const claims = { jti: 'one-of-many', iat: 1_700_000_000 };
    const expected = { ...VALID, jti: 'one-of-many', issuedAt: 1_700_000_000 };
    expect(await tokens.verify(await mintSession(USER, { claims }))).toMatchObject(expected);
  });

  it.each(['session', 'automation', 'subagent'])('is valid as type %s', async (typ) => {
    expect(await tokens.verify(await mintSession(USER, { claims: { typ } }))).toMatchObject(VALID);
  });

  it('is valid under any of the candidate secrets, such as a key file with its newline', async () => {
    const both = createSessionTokens({ secretKeys: [TEST_SECRET, `${TEST_SECRET}\n`] });
    expect(await both.verify(await mintSession(USER, { secretKey: `${TEST_SECRET}\n` }))).toMatchObject(VALID);
    expect(await both.verify(await mintSession(USER))).toMatchObject(VALID);
  });

  it('is valid where the secret is a short one', async () => {
    const short = createSessionTokens({ secretKeys: ['x'] });
    expect(await short.verify(await mintSession(USER, { secretKey: 'x' }))).toMatchObject(VALID);
  });

  it('survives an issuer whose clock runs a little ahead of ours', async () => {
    expect(await tokens.verify(await mintSession(USER, { claims: { iat: nowSeconds() + 5 } }))).toMatchObject(VALID);
  });

  it('is expired from the very second of its claim on', async () => {
    expect(await tokens.verify(await mintSession(USER, { expiresIn: 0 }))).toEqual({ state: 'expired' });
    expect(await tokens.verify(await mintSession06(USER, { expiresIn: -3600 }))).toEqual({ state: 'expired' });
  });
});

describe('what the backend would refuse is invalid:', () => {
  const refused: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    'no user id': { id: undefined },
    'an empty user id': { id: '' },
    'a user id that is no string': { id: 7 },
    'an audience': { aud: 'another' },
    'an unknown type': { typ: 'mfa' },
    'a type that is null': { typ: null },
    'not valid yet': { nbf: nowSeconds() + 3600 },
    'issued in the future': { iat: nowSeconds() + 3600 },
    'an expiry that is no number': { exp: 'tomorrow' },
    'an expiry that is null': { exp: null },
  };
  it.each(Object.keys(refused))('%s', async (name) => {
    expect(await tokens.verify(await mintSession(USER, { claims: refused[name] ?? {} }))).toEqual({ state: 'invalid' });
  });

  it('another secret', async () => {
    expect(await tokens.verify(await mintSession(USER, { secretKey: 'another' }))).toEqual({ state: 'invalid' });
  });

  it('another algorithm, also one that needs no key', async () => {
    const key = new TextEncoder().encode(TEST_SECRET);
    const hs512 = await new SignJWT({ id: USER }).setProtectedHeader({ alg: 'HS512' }).sign(key);
    const [, payload] = hs512.split('.');
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload ?? ''}.`;
    for (const token of [hs512, none, `${none}${'A'.repeat(43)}`]) {
      expect(await tokens.verify(token)).toEqual({ state: 'invalid' });
    }
  });

  it('a changed payload', async () => {
    const [header, , signature] = (await mintSession(USER)).split('.');
    const payload = Buffer.from(JSON.stringify({ id: 'another-user' })).toString('base64url');
    expect(await tokens.verify(`${header ?? ''}.${payload}.${signature ?? ''}`)).toEqual({ state: 'invalid' });
  });

  it('anything but the exact shape: spaces, padding, other characters, no token at all', async () => {
    const token = await mintSession(USER);
    for (const text of [
      ` ${token}`,
      `${token} `,
      `${token}=`,
      `${token}\n`,
      token.replace('.', ' .'),
      '',
      'x',
      'a.b.c',
    ]) {
      expect(tokens.verify(text)).toEqual({ state: 'invalid' });
    }
  });
});

describe('the cache', () => {
  it('answers a token seen before at once', async () => {
    const token = await mintSession(USER);
    expect(tokens.verify(token)).toBeInstanceOf(Promise);
    await tokens.verify(token);
    expect(tokens.verify(token)).toMatchObject(VALID);
  });

  it('stops answering "valid" when the token expires', async () => {
    let nowMs = Date.now();
    const clocked = createSessionTokens({ secretKeys: [TEST_SECRET], now: () => nowMs });
    const exp = Math.floor(nowMs / 1000) + 60;
    const token = await mintSession(USER, { claims: { exp } });
    await clocked.verify(token);
    nowMs = exp * 1000 - 1;
    expect(clocked.verify(token)).toMatchObject(VALID);
    nowMs = exp * 1000;
    expect(clocked.verify(token)).toEqual({ state: 'expired' });
  });

  it('remembers a refusal briefly, and lets a token that was not valid yet become valid', async () => {
    let nowMs = Date.now();
    const clocked = createSessionTokens({ secretKeys: [TEST_SECRET], now: () => nowMs });
    const token = await mintSession(USER, { claims: { nbf: Math.floor(nowMs / 1000) + 3600 } });
    await clocked.verify(token);
    expect(clocked.verify(token)).toEqual({ state: 'invalid' });
    nowMs += 3_600_000;
    expect(await clocked.verify(token)).toMatchObject(VALID);
  });

  it('does not let garbage drive out the sessions', async () => {
    const clocked = createSessionTokens({ secretKeys: [TEST_SECRET] });
    const token = await mintSession(USER);
    await clocked.verify(token);
    const [header, payload] = token.split('.');
    const forged = Array.from(
      { length: 3_000 },
      (_, n) => `${header ?? ''}.${payload ?? ''}.${String(n).padStart(43, '_')}`,
    );
    await Promise.all(forged.map(async (text) => clocked.verify(text)));
    expect(clocked.verify(token)).toMatchObject(VALID);
    expect(clocked.verify(forged[0] ?? '')).toBeInstanceOf(Promise);
  });

  it('tells known texts, whether expired or not, and nothing else', async () => {
    const [valid, expired, foreign] = await Promise.all([
      mintSession(USER),
      mintSession(USER, { expiresIn: -1 }),
      mintSession(USER, { secretKey: 'another' }),
    ]);
    await Promise.all([valid, expired, foreign].map(async (token) => tokens.verify(token)));
    expect([valid, expired, foreign, 'x'].map((token) => tokens.isKnown(token))).toEqual([true, true, false, false]);
  });
});

it('a gate without any secret does not start', () => {
  expect(() => createSessionTokens({ secretKeys: [''] })).toThrow('At least one secret key');
});

describe('what is wrong with a session that was just issued', () => {
  const HOUR = 3_600;
  const odd: Readonly<Record<string, { readonly mint: () => Promise<string>; readonly fault: string | undefined }>> = {
    'nothing in 0.6': { mint: () => mintSession06(USER), fault: undefined },
    'nothing in 0.12': { mint: () => mintSession(USER), fault: undefined },
    'nothing within a minute': { mint: () => mintSession(USER, { expiresIn: -30 }), fault: undefined },
    'another key': { mint: () => mintSession(USER, { secretKey: 'another' }), fault: 'other_key' },
    'its beginning': { mint: () => mintSession(USER, { claims: { iat: nowSeconds() + HOUR } }), fault: 'early' },
    'its end': { mint: () => mintSession(USER, { expiresIn: -HOUR }), fault: 'over' },
    'its type': { mint: () => mintSession(USER, { claims: { typ: 'later' } }), fault: 'unknown_form' },
    'its algorithm': {
      mint: () =>
        new SignJWT({ id: USER }).setProtectedHeader({ alg: 'HS512' }).sign(new TextEncoder().encode(TEST_SECRET)),
      fault: 'unknown_form',
    },
    'that it is none': { mint: () => Promise.resolve('no token'), fault: 'unknown_form' },
  };
  it.each(Object.keys(odd))('%s', async (name) => {
    const { mint, fault } = odd[name] ?? expect.fail(name);
    expect(await tokens.faultOf(await mint())).toBe(fault);
  });

  it('is nothing where one of the candidate secrets has signed it', async () => {
    const both = createSessionTokens({ secretKeys: ['another', TEST_SECRET] });
    expect(await both.faultOf(await mintSession(USER))).toBeUndefined();
  });
});
