/** With whose key a provider is asked, and so whom it bills: the organization that pays, where it has a key of its own. */
import { GatewayError } from '../errors.ts';
import { toOrganizationId } from '../policy/principal.ts';
import type { Store } from '../store/store.ts';
import type { Call } from '../usage/call.ts';
import { type OpenedKey, createKeySeal } from '../usage/keys.ts';
import type { Ledger } from '../usage/ledger.ts';
import { ownLines } from './admit.ts';
import type { ProviderScope } from './scope.ts';

interface OwnKeysParts {
  readonly ledger: Pick<Ledger, 'sealedKeyOf'>;
  readonly store: Pick<Store, 'askOn' | 'current' | 'patiently'>;
  /** `MODELGATE_KEYS_SECRET` */
  readonly keysSecret: string | undefined;
  /** Of this door: no provider gets one. */
  readonly accessKeys: readonly string[];
}

type Payer = Pick<Call, 'organization' | 'provider'>;
type SealedKey = Uint8Array | null | undefined;
export type OwnKeyOf = ReturnType<typeof createOwnKeys>;

/** mAI keeps keys for no other provider. */
const MAI_HOST = /^(?:[\w-]+\.)*openrouter\.ai$/;
/** What a header can carry. */
const CARRIED = /^[!-~]+$/;
const NONE: OpenedKey = { kind: 'none' };

export function createOwnKeys({ ledger, store, keysSecret, accessKeys }: OwnKeysParts) {
  const { open } = createKeySeal(keysSecret);
  const lastStored = new Map<string, Uint8Array | null>();

  /** The last one that was seen, where calls go on while the ledger cannot be read. */
  async function storedKey({ organization, provider }: Payer, seen: SealedKey): Promise<Uint8Array | undefined> {
    const name = JSON.stringify([organization, provider]);
    const found = seen === undefined ? await ledger.sealedKeyOf(organization, provider) : seen;
    if (found !== undefined) lastStored.set(name, found);
    const stored = found === undefined ? lastStored.get(name) : found;
    if (stored === undefined && keysSecret !== undefined) throw new GatewayError('ledger_unavailable');
    return stored ?? undefined;
  }

  /** What `modelgate key set` has stored comes before what mAI's table has. @param seen in the ledger a moment ago @throws GatewayError `ledger_unavailable`, `policy_unavailable` */
  return async function ownKeyOf({ organization, provider }: Payer, seen?: SealedKey): Promise<OpenedKey> {
    if (organization === '') return NONE;
    const opened = open({ organization, provider }, await storedKey({ organization, provider }, seen));
    if (opened.kind !== 'none' || !MAI_HOST.test(provider)) return opened;
    const read = () => store.current().openrouterKeyOf(toOrganizationId(organization));
    const key = await store.patiently(() => store.askOn(read));
    // what mAI sends to the door stands in the same column
    if (key === undefined || accessKeys.includes(key)) return NONE;
    return CARRIED.test(key) ? { kind: 'key', key } : { kind: 'sealed', why: MALFORMED };
  };
}

const MALFORMED = 'client_organizations.openrouter_api_key holds what no header can carry';

/**
 * Puts it in the place of the key that all share, which stays where there is none.
 * @throws GatewayError `organization_key_unusable`: with the shared key others would pay unseen
 */
export function payWith(scope: ProviderScope, own: OpenedKey): void {
  if (own.kind === 'none') return;
  scope.hasOwnKey = true;
  if (own.kind === 'sealed') throw new GatewayError('organization_key_unusable', { cause: own.why });
  scope.credentialEdit = { ...scope.credentialEdit, add: ownLines(scope, own.key) };
}
