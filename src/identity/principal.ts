/** Who a request comes from, once its credential has been read. */
declare const brand: unique symbol;
export type UserId = string & { readonly [brand]: 'UserId' };
export type OrganizationId = string & { readonly [brand]: 'OrganizationId' };

/** Minted where rows and verified tokens are read (`store/`, `identity/`), nowhere else. */
export const toUserId = (value: string): UserId => value as UserId;
export const toOrganizationId = (value: string): OrganizationId => value as OrganizationId;

/**
 * A user that the backend's database knows.
 * `role` is the backend's own word: `pending`, `user`, `admin`, and `banned` in mAI.
 */
export interface UserPrincipal {
  readonly kind: 'user';
  readonly id: UserId;
  readonly role: string;
}

/** No user that the gate can name; `because` is the reason that logs and `explain` give. */
export interface AnonymousPrincipal {
  readonly kind: 'anonymous';
  readonly because: 'no_credential' | 'credential_invalid' | 'credential_expired' | 'user_unknown';
}

/** Who it is cannot be said at the moment: the database cannot be read. Model surfaces answer 503. */
export interface UnresolvedPrincipal {
  readonly kind: 'unresolved';
  /** Whom a session token names that has a good signature; whether the user still exists is not known. */
  readonly claimed?: UserId;
}

export type Principal = UserPrincipal | AnonymousPrincipal | UnresolvedPrincipal;
