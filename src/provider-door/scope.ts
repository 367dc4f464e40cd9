/** What travels with one request to a provider. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EnforcementScope } from '../enforcement/answers.ts';
import type { GatewayError } from '../errors.ts';
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

interface DoorScope {
  path: string;
  surface: { readonly kind: string };
  provider: Provider;
  /** Undefined where the endpoint is not one that is judged. */
  endpoint: Endpoint | undefined;
  endpointName: string;
  /** Azure names the model in the path. */
  modelInPath: string | undefined;
  query: string;
  /** What the body says beside its models; undefined where it was not judged, or cannot be read. */
  call: CallFacts | undefined;
}

export type ProviderScope = EnforcementScope & DoorScope;

export interface ProviderEnv {
  Bindings: { incoming: IncomingMessage; outgoing: ServerResponse; fault?: GatewayError };
  Variables: { scope: ProviderScope };
}

/** Every field starts at its most refusing value. */
export const createProviderScope = (incoming: IncomingMessage, outgoing: ServerResponse, provider: Provider) =>
  ({
    requestId: randomUUID(),
    startedAt: performance.now(),
    incoming,
    outgoing,
    path: '',
    target: '',
    query: '',
    surface: { kind: 'refused' },
    provider,
    endpoint: undefined,
    endpointName: '',
    modelInPath: undefined,
    call: undefined,
    principal: { kind: 'anonymous', because: 'no_credential' },
    isPrincipalCurrent: false,
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
