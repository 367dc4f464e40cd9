import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';

/** The secret that tests sign and verify with. */
export const TEST_SECRET = 'a-secret-for-tests-only';

const sign = (claims: Record<string, unknown>, secretKey: string): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(new TextEncoder().encode(secretKey));

const nowSeconds = (): number => Math.floor(Date.now() / 1000);

export interface SessionOptions {
  readonly secretKey?: string;
  /** Seconds from now; negative for a token that has expired. Default: never in 0.6, four weeks in 0.12. */
  readonly expiresIn?: number;
  /** Replace or add claims; `undefined` leaves one out. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** As 0.6.0 to 0.6.36 mint it: `id`, and `exp` only if an expiry is configured. Always the same text for the same user. */
export function mintSession06(userId: string, options: SessionOptions = {}): Promise<string> {
  const { secretKey = TEST_SECRET, expiresIn, claims } = options;
  return sign({ id: userId, ...(expiresIn !== undefined && { exp: nowSeconds() + expiresIn }), ...claims }, secretKey);
}

/** As 0.12 mints it (`create_session_response` and `create_token`, utils/auth.py). */
export function mintSession(userId: string, options: SessionOptions = {}): Promise<string> {
  const { secretKey = TEST_SECRET, expiresIn = 28 * 24 * 3600, claims } = options;
  const now = nowSeconds();
  return sign(
    {
      id: userId,
      typ: 'session',
      auth_method: 'password',
      auth_time: now,
      session_stamp: '6f1f4f0c2a5b4f2b9d1e8a7c6b5d4e3f',
      mfa_verified: false,
      exp: now + expiresIn,
      jti: randomUUID(),
      iat: now,
      ...claims,
    },
    secretKey,
  );
}
