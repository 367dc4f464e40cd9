/**
 * Sessions that the backend has ended one by one: who signs out, does so for one token, and the backend says so in its Redis.
 * It would refuse such a session itself; the gate does too, so that its own refusals tell nothing to it.
 */
import type { Stage } from '../stage.ts';
import { type Identity, type IdentityScope, EXPIRED } from './authenticate.ts';
import type { Session } from './session-token.ts';

export interface Revocations {
  /** Never rejects. @returns false where it cannot be found out: the backend takes the session then, too */
  readonly isRevoked: (session: Session) => Promise<boolean>;
}

export interface RevocationScope extends Pick<IdentityScope, 'principal' | 'sessionToken'> {
  /** Whether the backend has ended the session, once that is known; undefined where it is not asked. */
  revoked: Promise<boolean> | undefined;
}

interface RevocationParts {
  readonly identity: Pick<Identity, 'verify'>;
  readonly revocations: Revocations;
}

interface ResolvingParts {
  readonly identity: Pick<Identity, 'resolveToken' | 'verify'>;
  /** Undefined where nothing is known of ended sessions. */
  readonly revocations?: Revocations | undefined;
}

const asking =
  ({ identity, revocations }: RevocationParts) =>
  async (token: string): Promise<boolean> => {
    const verified = await identity.verify(token);
    return verified.state === 'valid' && revocations.isRevoked(verified);
  };

/** The stage: it asks and does not wait, so that what limits ask goes the same way at the same time. */
export function askRevocation<Scope extends RevocationScope>(
  parts: RevocationParts,
  isDecided: (scope: Scope) => boolean,
): Stage<Scope> {
  const isRevoked = asking(parts);
  return function askRevocation(c, next) {
    const scope = c.get('scope');
    if (scope.sessionToken !== undefined && isDecided(scope)) scope.revoked = isRevoked(scope.sessionToken);
    return next();
  };
}

/** @returns what finds who a token proves that stands in no header; a revoked session is one that has ended */
export function resolvingUnlessRevoked({ identity, revocations }: ResolvingParts): Identity['resolveToken'] {
  if (revocations === undefined) return identity.resolveToken;
  const isRevoked = asking({ identity, revocations });
  return async function resolveToken(token, view) {
    const [principal, revoked] = await Promise.all([identity.resolveToken(token, view), isRevoked(token)]);
    return revoked ? EXPIRED : principal;
  };
}

/** @returns the decision, for which a revoked session is one that has ended */
export const unlessRevoked =
  <Scope, Outcome>(decide: (scope: Scope) => Promise<Outcome>) =>
  (scope: Scope & RevocationScope): Promise<Outcome> => {
    const { revoked } = scope;
    if (revoked === undefined) return decide(scope);
    return revoked.then((isRevoked) => {
      if (isRevoked) scope.principal = EXPIRED;
      return decide(scope);
    });
  };
