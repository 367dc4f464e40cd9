/** Who a request comes from, once its credential has been read. */
declare const brand: unique symbol;
export type UserId = string & { readonly [brand]: 'UserId' };
export type OrganizationId = string & { readonly [brand]: 'OrganizationId' };

/** Minted where rows and verified tokens are read (`store/`, `identity/`), nowhere else. */
export const toUserId = (value: string): UserId => value as UserId;
export const toOrganizationId = (value: string): OrganizationId => value as OrganizationId;

/** A user that the backend's database knows; `role` is the backend's own word: `pending`, `user`, `admin`, in mAI `banned`. */
export interface UserPrincipal {
  readonly kind: 'user';
  readonly id: UserId;
  readonly role: string;
}

/** No user that the gate can name; `because` is the reason that logs and `explain` give. */
interface AnonymousPrincipal {
  readonly kind: 'anonymous';
  readonly because: 'no_credential' | 'credential_invalid' | 'credential_expired' | 'user_unknown';
}

export type Principal =
  | UserPrincipal
  | AnonymousPrincipal
  /**
   * The database cannot be read, or has not been asked yet: a decision that needs it answers 503. `claimed` is the user of a
   * session token with a good signature, who may not exist any more.
   */
  | { readonly kind: 'unresolved'; readonly claimed?: UserId };

/** Without a word of the database, the user whom a token names is proved by its signature alone. */
export function provedUser(principal: Principal): UserId | undefined {
  if (principal.kind === 'user') return principal.id;
  return principal.kind === 'unresolved' ? principal.claimed : undefined;
}
