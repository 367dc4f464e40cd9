/** Who is asking. Authentication attaches, authorization refuses; credentials of two users are an error. */
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import { type Principal, provedUser } from '../policy/principal.ts';
import type { Stage } from '../stage.ts';
import type { Need } from '../store/foresight.ts';
import type { Store } from '../store/store.ts';
import type { StoreView } from '../store/store-view.ts';
import type { HeaderEdit, HeaderLines, TransportScope } from '../transport/exchange.ts';
import { type Credential, type Credentials, isReadable, readCredentials, toHeaderEdit } from './credential.ts';
import { type VerifiedToken, createSessionTokens } from './session-token.ts';

type UserView = Pick<StoreView, 'user' | 'isSessionOver' | 'userOfApiKey'>;

export interface IdentityScope extends Pick<TransportScope, 'incoming' | 'credentialEdit'> {
  principal: Principal;
  /** The database could be read for it. Otherwise a decision asks once more who it is. */
  isPrincipalCurrent: boolean;
  /** What a decision asks to know who it is, where that is left to it. */
  claim: Pick<Need, 'user' | 'apiKey'> | undefined;
  /** Which session token proves the principal, if one does. */
  sessionToken: string | undefined;
}

interface Identified {
  readonly principal: Principal;
  readonly edit: HeaderEdit;
  /** The one that is judged. */
  readonly credential: Credential | undefined;
}

export type Identity = ReturnType<typeof createIdentity>;

const NO_CREDENTIAL: Principal = { kind: 'anonymous', because: 'no_credential' };
const INVALID: Principal = { kind: 'anonymous', because: 'credential_invalid' };
export const EXPIRED: Principal = { kind: 'anonymous', because: 'credential_expired' };
const UNKNOWN: Principal = { kind: 'anonymous', because: 'user_unknown' };
const UNRESOLVED: Principal = { kind: 'unresolved' };

/** Different readable credentials in one request: a browser may hold two cookies; more is an attempt to cost us work. */
const MAX_DIFFERENT = 4;

/** @param options `secretKeys`: candidates, at least one; `apiKeyHeader`: `CUSTOM_API_KEY_HEADER`, any letter case */
export function createIdentity(options: { readonly secretKeys: readonly string[]; readonly apiKeyHeader: string }) {
  const apiKeyHeader = options.apiKeyHeader.toLowerCase();
  // The backend would take the whole Cookie line as the key, other cookies included: there is no canonical form of that.
  if (apiKeyHeader === 'cookie') throw new TypeError('CUSTOM_API_KEY_HEADER cannot be the Cookie header.');
  const tokens = createSessionTokens({ secretKeys: options.secretKeys });
  const reading = { apiKeyHeader, isKnownSession: tokens.isKnown };

  function principalOf(credential: Credential | undefined, view: UserView | undefined) {
    if (credential === undefined) return NO_CREDENTIAL;
    if (!isReadable(credential)) return INVALID;
    return credential.form === 'key' ? ofKey(credential.text, view) : resolveToken(credential.text, view);
  }

  /** Also for a realtime socket's first frame, which takes no API key (`get_verified_user_by_token`, 0.12.4). */
  function resolveToken(token: string, view: UserView | undefined): Principal | Promise<Principal> {
    const verified = tokens.verify(token);
    return verified instanceof Promise ? verified.then((late) => ofVerified(late, view)) : ofVerified(verified, view);
  }

  return {
    /**
     * Synchronous when every token has been verified before. @param view undefined while the database cannot be read
     * @throws GatewayError `credentials_conflict` (or rejects with it)
     */
    resolve(rawHeaders: HeaderLines, view: UserView | undefined): Identified | Promise<Identified> {
      const credentials = readCredentials(rawHeaders, reading);
      const { judged } = credentials;
      const edit = toHeaderEdit(credentials);
      const rivals = rivalsOf(credentials);
      const ask = (one: Credential | undefined) => principalOf(one, view);
      const identified = (principal: Principal): Identified => ({ principal, edit, credential: judged });
      const principal = rivals.length > 0 ? ofOneUser([judged, ...rivals], ask) : ask(judged);
      return principal instanceof Promise ? principal.then(identified) : identified(principal);
    },
    resolveToken,
    verify: tokens.verify,
    faultOf: tokens.faultOf,
  };
}

const NO_RIVALS: readonly Credential[] = [];

/** The readable credentials that say something else than the judged one, each text once. */
function rivalsOf({ judged, all }: Credentials): readonly Credential[] {
  const isRival = (one: Credential): boolean => isReadable(one) && one.text !== judged?.text;
  if (!all.some(isRival)) return NO_RIVALS;
  return [...new Map(all.filter(isRival).map((one) => [one.text, one])).values()];
}

/** All are resolved, and none but the judged one counts. */
async function ofOneUser(
  [judged, ...rivals]: readonly (Credential | undefined)[],
  principalOf: (credential: Credential | undefined) => Principal | Promise<Principal>,
): Promise<Principal> {
  if (rivals.length >= MAX_DIFFERENT) {
    throw new GatewayError('credentials_conflict', { detail: 'There are too many to tell.' });
  }
  const principal = await principalOf(judged);
  const others = await Promise.all(rivals.map(async (one) => principalOf(one)));
  const all = [principal, ...others];
  const users = new Set(all.flatMap((one) => (one.kind === 'user' ? [one.id] : [])));
  if (users.size > 1) throw new GatewayError('credentials_conflict');
  // while the database says nothing of one of them, no user's allowance pays for it
  return new Set(all.flatMap((one) => provedUser(one) ?? [])).size > 1 ? UNRESOLVED : principal;
}

function ofVerified(verified: VerifiedToken, view: UserView | undefined): Principal {
  if (verified.state === 'invalid') return INVALID;
  if (verified.state === 'expired') return EXPIRED;
  const { userId, stamp } = verified;
  const find = (known: UserView) => (known.isSessionOver(userId, stamp) ? EXPIRED : (known.user(userId) ?? UNKNOWN));
  return lookUp(view, find) ?? { kind: 'unresolved', claimed: userId };
}

function ofKey(key: string, view: UserView | undefined): Principal {
  const found = lookUp(view, (known) => {
    const owner = known.userOfApiKey(key);
    return owner === undefined ? INVALID : (known.user(owner) ?? UNKNOWN);
  });
  return found ?? UNRESOLVED;
}

const lookUp = (view: UserView | undefined, ask: (view: UserView) => Principal): Principal | undefined =>
  view && orUndefined(() => ask(view));

/** @returns undefined where the database cannot be read */
export function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isPolicyUnavailable(error)) return undefined;
    throw error;
  }
}

interface AuthenticateParts {
  readonly identity: Identity;
  readonly store: Pick<Store, 'ask' | 'failures'> & { current(): UserView };
}

/**
 * Attaches the principal, for both doors; a promise where a token has to be verified or the database be looked at first.
 * @throws GatewayError `credentials_conflict` (or rejects with it)
 */
export function identify(scope: IdentityScope, { identity, store }: AuthenticateParts): void | Promise<void> {
  const failures = store.failures();
  const attach = (identified: Identified): void => {
    attachTo(scope, identified);
    scope.isPrincipalCurrent = store.failures() === failures;
  };
  const view = () => orUndefined(() => store.current());
  const identified = store.ask(() => identity.resolve(scope.incoming.rawHeaders, view()));
  if (identified instanceof Promise) return identified.then(attach);
  attach(identified);
}

function attachTo(scope: IdentityScope, identified: Identified): void {
  scope.principal = identified.principal;
  scope.credentialEdit = identified.edit;
  scope.sessionToken = textOf('session', identified);
}

const textOf = (form: Credential['form'], { credential }: Identified): string | undefined =>
  credential?.form === form ? credential.text : undefined;

/**
 * The same without a question to the database: whom it knew last. For what is not decided here, and where asking costs a way
 * through the network. @throws GatewayError `credentials_conflict` (or rejects with it)
 */
export function recognize(scope: IdentityScope, { identity, store }: AuthenticateParts): void | Promise<void> {
  const attach = (identified: Identified): void => {
    const id = provedUser(identified.principal);
    scope.claim = id === undefined ? undefined : { user: { id }, apiKey: textOf('key', identified) };
    attachTo(scope, identified);
  };
  const recognized = identity.resolve(
    scope.incoming.rawHeaders,
    orUndefined(() => store.current()),
  );
  if (recognized instanceof Promise) return recognized.then(attach);
  attach(recognized);
}

/** Left to the decision, where a user is claimed; what the database refused last, or does not know, it is asked about now. */
function claim(scope: IdentityScope, parts: AuthenticateParts): void | Promise<void> {
  const askNow = () => (scope.claim === undefined ? identify(scope, parts) : undefined);
  const recognized = recognize(scope, parts);
  // two users of whom it knew may be one by now
  return recognized === undefined ? askNow() : recognized.then(askNow, () => identify(scope, parts));
}

const PROOFS = { now: identify, with_decision: claim, never: recognize } as const;

/** The stage. @param whenOf when the database is asked who it is: `never` where nothing depends on it */
export function authenticate<Scope extends IdentityScope>(
  parts: AuthenticateParts,
  whenOf: (scope: Scope) => keyof typeof PROOFS = () => 'now',
): Stage<Scope> {
  return function authenticate(c, next) {
    const scope = c.get('scope');
    const pending = PROOFS[whenOf(scope)](scope, parts);
    return pending === undefined ? next() : pending.then(next);
  };
}
