/** The view that requests ask, and what tells the store what the view lacks. */
import { isPolicyUnavailable } from '../errors.ts';
import type { StoredBudget } from '../policy/budget.ts';
import { type OrganizationId, type UserId, type UserPrincipal, toOrganizationId } from '../policy/principal.ts';
import type { PolicyView } from '../policy/decide.ts';
import { type GrantSet, type ModelId, coveringGrant } from '../policy/grant.ts';
import { type Caches, createCaches } from './caches.ts';
import type { Connection } from './database.ts';
import { type Need, callsFor, follow, keyOf } from './foresight.ts';
import { ROLES_NOT_ENROLLED } from './initialize.ts';
import { stemOf } from './models.ts';
import { type PointCall, type PointRead, type PointReads, type Source, prepareStatements } from './queries.ts';

/** Thrown by a view that lacks something: it can be loaded, and the question asked again. */
export class NotLoaded extends Error {
  readonly call: PointCall;

  constructor(call: PointCall) {
    // one request may have thousands of them: their stacks would take most of its time, and are never read
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(`${call.name} has not been loaded`);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'NotLoaded';
    this.call = call;
  }
}

/** The backend's own are 35 characters long (`sk-` and 32 hexadecimal digits). */
const MAX_API_KEY_LENGTH = 512;

/** The caches by their names in the metrics. */
const COUNTED = {
  users: 'accountOf',
  api_keys: 'userOfApiKey',
  memberships: 'membershipsOf',
  grants: 'patternsOf',
  organizations: 'isActive',
  presets: 'preset',
} as const;

/** What a request may ask. */
export type StoreView = Pick<
  CachedView,
  | keyof PolicyView
  | ('user' | 'isSessionOver' | 'userOfApiKey' | 'isGrantedAnywhere' | 'hasModelRow' | 'providerSettings' | 'presetsOn')
  | ('budgetsOf' | 'allBudgets' | 'organizationName' | 'openrouterKeyOf')
>;

/** What the last look at the file found; each question @throws NotLoaded */
export class CachedView implements PolicyView {
  readonly #caches: Caches;

  constructor(...options: Parameters<typeof createCaches>) {
    this.#caches = createCaches(...options);
  }

  lookups() {
    return Object.entries(COUNTED).map(([name, read]) => ({ name, ...this.#caches[read].counts }));
  }

  /** Takes what the file has answered. */
  put({ name, key }: PointCall, value: unknown): void {
    const caches: Record<PointRead, { put: (value: never, key: string) => unknown }> = this.#caches;
    caches[name].put(value as never, key);
  }

  /** What was known is true still. @returns false where it is known no more */
  confirm({ name, key }: PointCall): boolean {
    return this.#caches[name].confirm(key);
  }

  /** @param calls gets all that a question with this need will ask, as far as the last state tells, however old it is */
  foresee(need: Need, calls: PointCall[]): void {
    for (const call of callsFor(need)) follow(this.#caches, call, calls);
  }

  /** @param calls gets the call, and what will be asked when it is answered */
  follow(call: PointCall, calls: PointCall[]): void {
    follow(this.#caches, call, calls);
  }

  /** Has the user, as far as that is known, no membership, and a role that may have one? */
  mayJoin(user: string): boolean {
    const account = lookUp(() => this.#caches.accountOf.get(user));
    const isNone = lookUp(() => [this.#caches.membershipsOf.get(user)])?.[0] === undefined;
    return isNone && account !== undefined && !ROLES_NOT_ENROLLED.has(account.user.role);
  }

  /** @returns the user with today's role, or undefined where the backend does not know the id */
  user(id: UserId) {
    return this.#caches.accountOf.get(id)?.user;
  }

  /**
   * Has the backend ended the sessions with this claim, as it does with all of a user when the password is changed (0.12)?
   * No, where it keeps no stamp: then it knows by itself. @param stamp the claim `session_stamp`; undefined where there is none
   */
  isSessionOver(id: UserId, stamp: unknown): boolean {
    const account = this.#caches.accountOf.get(id);
    return account !== undefined && 'sessionStamp' in account && account.sessionStamp !== (stamp ?? null);
  }

  /** @returns the owner of an API key, in whichever table this schema version keeps keys */
  userOfApiKey(key: string): UserId | undefined {
    return key.length > MAX_API_KEY_LENGTH ? undefined : this.#caches.userOfApiKey.get(key);
  }

  grantsOf({ id }: UserPrincipal): readonly GrantSet[] {
    const { membershipsOf, isActive, patternsOf } = this.#caches;
    const active = membershipsOf.get(id)?.filter((organization) => isActive.get(organization)) ?? [];
    return active.map((organization) => patternsOf.get(organization));
  }

  /** Has it been read of which organizations the user is a member? */
  isKnown(user: UserId): boolean {
    return lookUp(() => [this.#caches.membershipsOf.get(user)]) !== undefined;
  }

  /** What must be loaded next for this need; nothing where all is there, or cannot be read. */
  missing({ user, models }: Need) {
    const { membershipsOf, isActive, patternsOf } = this.#caches;
    const missing = new Map<string, PointCall>();
    const look = <T>(ask: () => T) => lookUp(ask, ({ call }) => missing.set(keyOf(call), call));
    const joined = user === undefined ? undefined : look(() => membershipsOf.get(user.id));
    for (const organization of joined ?? []) {
      look(() => isActive.get(organization));
      look(() => patternsOf.get(organization));
    }
    const named = new Set(models?.());
    for (const model of named) {
      const base = look(() => this.preset(model))?.base;
      if (base !== undefined) look(() => this.preset(base));
    }
    if (named.size > 0) {
      look(() => this.#caches.composites.get());
      look(() => this.connectionPrefixes());
    }
    return [...missing.values()];
  }

  preset(id: ModelId) {
    return this.#caches.preset.get(id);
  }

  /** Is there a row in the backend's `model` table? */
  hasModelRow(id: ModelId): boolean {
    return this.preset(id) !== undefined;
  }

  isComposite(id: ModelId): boolean {
    const composites = this.#caches.composites.get();
    return composites.has(id) || composites.has(stemOf(id));
  }

  connectionPrefixes(): readonly string[] {
    return this.#caches.connectionPrefixes.get();
  }

  /** What the backend's settings say of its providers. */
  providerSettings() {
    return this.#caches.providerSettings.get();
  }

  /** The organization's own key with openrouter.ai, as mAI keeps it; undefined where there is none. */
  openrouterKeyOf(organization: OrganizationId): string | undefined {
    return this.#caches.openrouterKeyOf.get(organization);
  }

  /** Ids of the presets whose base is this model. */
  presetsOn(base: ModelId): readonly ModelId[] {
    return this.#caches.presetsOn.get(base);
  }

  /** Its budgets that are switched on: `budgetsAt` says which of them count at a moment. */
  budgetsOf(organization: OrganizationId): readonly StoredBudget[] {
    return this.#caches.budgetsOf.get(organization);
  }

  /** The same of the first thousand organizations that have any. */
  allBudgets(): readonly StoredBudget[] {
    return this.#caches.allBudgets.get();
  }

  /** As mAI or the environment calls it, or its id. */
  organizationName(organization: OrganizationId): string {
    return this.#caches.organizationName.get(organization);
  }

  /** Does any organization's active grant, by id or by prefix and but for `*`, cover this id? Guards ids of new presets. */
  isGrantedAnywhere(id: ModelId): boolean {
    return coveringGrant(this.#caches.allPatterns.get(), id) !== undefined;
  }
}

/** @returns undefined where it is not loaded or cannot be read */
function lookUp<T>(ask: () => T, note?: (lacking: NotLoaded) => void): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof NotLoaded) note?.(error);
    else if (!isPolicyUnavailable(error)) throw error;
    return undefined;
  }
}

/**
 * The gate's view for commands, in the caller's transaction. @param enrolling the organization that new users are enrolled in
 * @returns `enrolled` too: users whom the gate would have enrolled by what the view was asked; nothing is written
 * @throws Unreadable where tables are missing or have another shape
 */
export function inspect(connection: Connection, enrolling?: string) {
  const enrolled = new Set<string>();
  const { reads: stored } = prepareStatements(connection);
  const reads: PointReads = {
    ...stored,
    membershipsOf: (user) => {
      const [joined, role = 'pending'] = [stored.membershipsOf(user), stored.accountOf(user)?.role];
      if (enrolling === undefined || joined !== undefined || ROLES_NOT_ENROLLED.has(role)) return joined;
      enrolled.add(user);
      return [toOrganizationId(enrolling)];
    },
  };
  const source: Source = {
    ...{ status: { generation: 1, epochs: { members: 1, models: 1 } }, goodAt: 0, problem: undefined },
    read: (name, key) => ({ value: reads[name](key as ModelId) as ReturnType<PointReads[typeof name]> }),
  };
  return { view: new CachedView(source, { maxStaleMs: 0, now: () => 0 }), enrolled };
}
