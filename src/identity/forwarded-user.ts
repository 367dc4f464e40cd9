/**
 * For whom the backend makes a call: what `ENABLE_FORWARD_USER_INFO_HEADERS` makes it say (utils/headers.py
 * `include_user_info_headers`). The role and the address that it says too are never believed.
 */
import { errors, jwtVerify } from 'jose';
import { GatewayError } from '../errors.ts';
import { type IdentityScope, orUndefined } from './authenticate.ts';
import { type Principal, type UserId, toUserId } from '../policy/principal.ts';
import type { Store } from '../store/store.ts';
import type { HeaderLines } from '../transport/exchange.ts';

interface ForwardedUserOptions {
  /** `FORWARD_USER_INFO_HEADER_USER_ID`, in lower case. */
  readonly userIdHeader: string;
  /** `FORWARD_USER_INFO_HEADER_JWT`, in lower case. */
  readonly tokenHeader: string;
  /** `FORWARD_USER_INFO_HEADER_JWT_SECRET`: where it is set, the signed token counts and nothing else. */
  readonly tokenSecret: string | undefined;
}

/** `none`: nothing was said. `invalid`: what was said is not proved. */
type ForwardedUser = { readonly kind: 'user'; readonly id: UserId } | { readonly kind: 'none' | 'invalid' };

/** `utils/headers.py` `_mint_forward_user_jwt`, from 0.9.6; a token lives for 300 s. */
const ISSUER = 'open-webui';
const CLOCK_TOLERANCE_SECONDS = 30;
/** The backend's own ids have 36 characters. */
const MAX_ID_LENGTH = 256;

/** @throws GatewayError `identity_conflict` where two users may be meant (or rejects with it) */
export function createForwardedUsers({ userIdHeader, tokenHeader, tokenSecret }: ForwardedUserOptions) {
  const secret = tokenSecret === undefined ? undefined : new TextEncoder().encode(tokenSecret);

  async function verify(token: string, key: Uint8Array): Promise<ForwardedUser> {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ['HS256'],
        issuer: ISSUER,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['sub', 'iat', 'exp'],
      });
      return toUser(payload.sub);
    } catch (error) {
      if (error instanceof errors.JOSEError) return { kind: 'invalid' };
      throw error;
    }
  }

  return async function forwardedUser(rawHeaders: HeaderLines): Promise<ForwardedUser> {
    const [id, ...moreIds] = valuesOf(rawHeaders, userIdHeader);
    const [token, ...moreTokens] = valuesOf(rawHeaders, tokenHeader);
    // The backend sends one of the two, once
    if (moreIds.length > 0 || moreTokens.length > 0 || (id !== undefined && token !== undefined)) {
      throw new GatewayError('identity_conflict');
    }
    if (secret !== undefined) return token === undefined ? { kind: 'none' } : verify(token, secret);
    return id === undefined ? { kind: 'none' } : toUser(id);
  };
}

function toUser(id: unknown): ForwardedUser {
  const isId = typeof id === 'string' && id !== '' && id.length <= MAX_ID_LENGTH && id === id.trim();
  return isId ? { kind: 'user', id: toUserId(id) } : { kind: 'invalid' };
}

export function valuesOf(rawHeaders: HeaderLines, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if ((rawHeaders[index] ?? '').toLowerCase() === name) values.push(rawHeaders[index + 1] ?? '');
  }
  return values;
}

interface IdentifyParts {
  readonly forwardedUser: ReturnType<typeof createForwardedUsers>;
  readonly store: Pick<Store, 'ask' | 'current' | 'failures'>;
}

/** Attaches the person for whom the backend makes this call. @throws GatewayError `identity_conflict` */
export async function identifyForwarded(scope: IdentityScope, { forwardedUser, store }: IdentifyParts): Promise<void> {
  const claimed = await forwardedUser(scope.incoming.rawHeaders);
  const failures = store.failures();
  scope.principal =
    claimed.kind === 'user'
      ? await store.ask(() => orUndefined(() => store.current().user(claimed.id) ?? UNKNOWN) ?? UNRESOLVED)
      : claimed.kind === 'none'
        ? ANONYMOUS
        : UNPROVED;
  scope.isPrincipalCurrent = store.failures() === failures;
}

const ANONYMOUS: Principal = { kind: 'anonymous', because: 'no_credential' };
const UNPROVED: Principal = { kind: 'anonymous', because: 'credential_invalid' };
const UNKNOWN: Principal = { kind: 'anonymous', because: 'user_unknown' };
const UNRESOLVED: Principal = { kind: 'unresolved' };
