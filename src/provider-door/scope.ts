/** What travels with one request to a provider. */
import { randomUUIDv7 } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EnforcementScope } from '../enforcement/answers.ts';
import type { GatewayError } from '../errors.ts';
import type { ModelId } from '../policy/grant.ts';
import type { OrganizationId } from '../policy/principal.ts';
import type { CallFacts } from '../references/call.ts';
import type { Upstream } from '../transport/upstream.ts';
import type { Endpoint } from './endpoints.ts';

export interface Provider {
  readonly url: URL;
  /** Undefined where the provider wants none. */
  readonly key: string | undefined;
  /** Where the backend has the prefix of its connection from its environment. */
  readonly prefix: string | undefined;
  readonly upstream: Upstream;
}

export interface WireModel {
  readonly model: ModelId;
  readonly listed: ModelId;
}

interface DoorScope {
  path: string;
  surface: { readonly kind: string };
  provider: Provider;
  /** Names of the header fields in which the access key came. */
  keyPlaces: ReadonlySet<string>;
  /** Undefined where the endpoint is not one that is judged. */
  endpoint: Endpoint | undefined;
  endpointName: string;
  /** Azure names the model in the path. */
  modelInPath: string | undefined;
  query: string;
  /** What the body says beside its models; undefined where it was not judged, or cannot be read. */
  call: CallFacts | undefined;
  /** The model that runs: as the provider is asked for it, and as the backend's lists name it; and those that may run in its place. */
  wire: (WireModel & { readonly others: readonly WireModel[] }) | undefined;
  /** Does the backend run it for itself, too? */
  isServiceModel: boolean;
  /** The organization that pays; undefined where none is known. */
  payer: OrganizationId | undefined;
  /** Does the payer have a key of its own with the provider? */
  hasOwnKey: boolean;
  /** The door has asked for usage and the caller has not: the event that tells it is taken out again. */
  hidesUsage: boolean;
  /** The body without that question, for a provider that refuses it. */
  unasked: readonly Buffer[] | undefined;
}

export type ProviderScope = EnforcementScope & DoorScope;

export interface ProviderEnv {
  Bindings: { incoming: IncomingMessage; outgoing: ServerResponse; fault?: GatewayError };
  Variables: { scope: ProviderScope };
}

/** Every field starts at its most refusing value. */
export const createProviderScope = (incoming: IncomingMessage, outgoing: ServerResponse, provider: Provider) =>
  ({
    // in the order of time: it is the key of the ledger
    requestId: randomUUIDv7(),
    startedAt: performance.now(),
    incoming,
    outgoing,
    path: '',
    target: '',
    query: '',
    surface: { kind: 'refused' },
    provider,
    keyPlaces: new Set(),
    endpoint: undefined,
    endpointName: '',
    modelInPath: undefined,
    call: undefined,
    wire: undefined,
    isServiceModel: false,
    payer: undefined,
    hasOwnKey: false,
    hidesUsage: false,
    usage: undefined,
    unasked: undefined,
    principal: { kind: 'anonymous', because: 'no_credential' },
    isPrincipalCurrent: false,
    claim: undefined,
    sessionToken: undefined,
    credentialEdit: { remove: new Set(), add: [] },
    body: undefined,
    decision: undefined,
    decisionMs: undefined,
    decisionId: undefined,
    decisionEnd: undefined,
    endSave: undefined,
    rewrite: undefined,
    limit: undefined,
    answerEdits: [],
    failure: undefined,
    outcome: undefined,
  }) satisfies ProviderScope as ProviderScope;
