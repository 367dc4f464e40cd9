/** What travels with one request: the slices that the rooms declare; a stage reads only what earlier stages wrote. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EnforcementScope } from '../enforcement/answers.ts';
import type { GatewayError } from '../errors.ts';
import type { IdentityScope } from '../identity/authenticate.ts';
import type { RevocationScope } from '../identity/revocation.ts';
import type { LimitsScope } from '../limits/limits.ts';
import type { OpenWebUiScope } from '../openwebui/endpoints.ts';
import type { Surface } from '../openwebui/surfaces.ts';
import type { Principal } from '../policy/principal.ts';
import type { TelemetryScope } from '../telemetry/recent-decisions.ts';
import type { AnswerEdit, HeaderEdit, TransportScope } from '../transport/exchange.ts';

export type Scope = TransportScope &
  TelemetryScope &
  LimitsScope &
  IdentityScope &
  RevocationScope &
  OpenWebUiScope &
  EnforcementScope;

/** Hono's environment. `c.get('scope')`, and not `c.var.scope`, which builds an object of all variables each time. */
export interface GateEnv {
  Bindings: { incoming: IncomingMessage; outgoing: ServerResponse; fault?: GatewayError };
  Variables: { scope: Scope };
}

const NO_EDIT: HeaderEdit = { remove: new Set(), add: [] };
const UNJUDGED: Surface = { kind: 'refused' };
const ANONYMOUS: Principal = { kind: 'anonymous', because: 'no_credential' };

/** What logs and headers can carry without escaping. */
const WELL_FORMED_ID = /^[\w.:@/+=-]{8,128}$/;

/** Every field starts at its most refusing value, so that a stage left out refuses rather than permits. */
export function createScope(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answerEdits: readonly AnswerEdit[] = [],
): Scope {
  const offered = incoming.headers['x-request-id'];
  return {
    requestId: typeof offered === 'string' && WELL_FORMED_ID.test(offered) ? offered : createRequestId(),
    startedAt: performance.now(),
    incoming,
    outgoing,
    path: '',
    target: '',
    query: '',
    surface: UNJUDGED,
    pathIds: {},
    principal: ANONYMOUS,
    isPrincipalCurrent: false,
    claim: undefined,
    sessionToken: undefined,
    revoked: undefined,
    credentialEdit: NO_EDIT,
    body: undefined,
    decision: undefined,
    decisionMs: undefined,
    decisionId: undefined,
    decisionEnd: undefined,
    endSave: undefined,
    runs: 1,
    runsByOrganization: undefined,
    rewrite: undefined,
    allowance: undefined,
    admission: undefined,
    limit: undefined,
    answerEdits,
    failure: undefined,
    outcome: undefined,
  };
}

const UUID_LENGTH = 36;
let uuids = Buffer.alloc(0);
let usedUuids = 0;

/** RFC 9562 5.4, as one flat text: over the pieces of `randomUUID`, `JSON.stringify` takes three times as long. */
function createRequestId(): string {
  if (usedUuids === uuids.length) {
    uuids = Buffer.from(Array.from({ length: 256 }, () => randomUUID()).join(''), 'latin1');
    usedUuids = 0;
  }
  usedUuids += UUID_LENGTH;
  return uuids.toString('latin1', usedUuids - UUID_LENGTH, usedUuids);
}
