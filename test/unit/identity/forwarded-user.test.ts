import { SignJWT, UnsecuredJWT, generateKeyPair } from 'jose';
import { describe, expect, test } from 'vitest';
import { createForwardedUsers } from '../../../src/identity/forwarded-user.ts';

const HEADERS = { userIdHeader: 'x-openwebui-user-id', tokenHeader: 'x-openwebui-user-jwt' };
const SECRET = 'the secret of both sides';
const plain = createForwardedUsers({ ...HEADERS, tokenSecret: undefined });
const signed = createForwardedUsers({ ...HEADERS, tokenSecret: SECRET });

const NOW = Math.floor(Date.now() / 1_000);
const CLAIMS = { sub: 'ann', iss: 'open-webui', iat: NOW, exp: NOW + 300, role: 'admin' };

const sign = (claims: object = CLAIMS, alg = 'HS256', secret = SECRET) =>
  new SignJWT({ ...claims })
    .setProtectedHeader({ alg })
    .sign(new TextEncoder().encode(secret.padEnd(64, ' ').trimEnd()));

describe('without a secret', () => {
  test('the plain header names the user', async () => {
    expect(await plain(['X-OpenWebUI-User-Id', 'ann'])).toEqual({ kind: 'user', id: 'ann' });
  });

  test.each([[[]], [['X-OpenWebUI-User-Email', 'ann@example.com']], [['Cookie', 'X-OpenWebUI-User-Id=ann']]])(
    '%j names none',
    async (lines) => expect(await plain(lines)).toEqual({ kind: 'none' }),
  );

  test.each(['', ' ann', 'x'.repeat(257)])('%j is no id', async (id) =>
    expect(await plain(['X-OpenWebUI-User-Id', id])).toEqual({ kind: 'invalid' }),
  );

  test('a token that cannot be verified names none', async () => {
    expect(await plain(['X-OpenWebUI-User-Jwt', await sign()])).toEqual({ kind: 'none' });
  });
});

describe('with a secret', () => {
  test('the signed token names the user', async () => {
    expect(await signed(['X-OpenWebUI-User-Jwt', await sign()])).toEqual({ kind: 'user', id: 'ann' });
  });

  test('the plain header counts as nothing', async () => {
    expect(await signed(['X-OpenWebUI-User-Id', 'ann'])).toEqual({ kind: 'none' });
  });

  test('clocks may differ by half a minute', async () => {
    const token = await sign({ ...CLAIMS, exp: NOW - 20 });
    expect(await signed(['X-OpenWebUI-User-Jwt', token])).toEqual({ kind: 'user', id: 'ann' });
  });

  test('a token of another form proves nothing', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const { sub: _, ...anonymous } = CLAIMS;
    const { exp: __, ...endless } = CLAIMS;
    const tokens = [
      await sign({ ...CLAIMS, exp: NOW - 60 }),
      await sign({ ...CLAIMS, iss: 'another' }),
      await sign(CLAIMS, 'HS512'),
      await sign(CLAIMS, 'HS256', 'another secret'),
      await sign(anonymous),
      await sign(endless),
      await sign({ ...CLAIMS, sub: '' }),
      new UnsecuredJWT({ ...CLAIMS }).encode(),
      await new SignJWT({ ...CLAIMS }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey),
      'no token',
      '',
    ];
    for (const token of tokens) expect(await signed(['X-OpenWebUI-User-Jwt', token])).toEqual({ kind: 'invalid' });
  });
});

describe('two users in one request', () => {
  test.each([plain, signed])('are a conflict', async (forwardedUser) => {
    const token = await sign();
    const id = ['X-OpenWebUI-User-Id', 'ann'];
    const jwt = ['X-OpenWebUI-User-Jwt', token];
    for (const lines of [
      [...id, ...id],
      [...jwt, ...jwt],
      [...id, ...jwt],
      [...jwt, ...id],
    ]) {
      await expect(forwardedUser(lines)).rejects.toMatchObject({ code: 'identity_conflict' });
    }
  });
});
