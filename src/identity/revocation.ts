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

/** The stage: it asks and does not wait, so that what limits ask goes the same way at the same time. */
export function askRevocation<Scope extends RevocationScope>(
  { identity, revocations }: RevocationParts,
  isDecided: (scope: Scope) => boolean,
): Stage<Scope> {
  async function isRevoked(token: string): Promise<boolean> {
    const verified = await identity.verify(token);
    return verified.state === 'valid' && verified.jti !== '' && revocations.isRevoked(verified);
  }
  return function askRevocation(c, next) {
    const scope = c.get('scope');
    if (scope.sessionToken !== undefined && isDecided(scope)) scope.revoked = isRevoked(scope.sessionToken);
    return next();
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
