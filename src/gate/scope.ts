/**
 * What travels with one request: the slices that the rooms declare. Created first, filled by one stage after the other; a
 * stage reads what earlier stages wrote and nothing else.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorCode, GatewayError } from '../errors.ts';
import type { OrganizationId, Principal } from '../identity/principal.ts';
import type { LimitsScope } from '../limits/limits.ts';
import type { Surface } from '../openwebui/surfaces.ts';
import type { Decision } from '../policy/decision.ts';
import type { TelemetryScope } from '../telemetry/observe.ts';
import type { AnswerEdit, HeaderEdit, TransportScope } from '../transport/exchange.ts';

export interface Scope extends TransportScope, TelemetryScope, LimitsScope {
  /** Written by `canonicalPath`: the decoded path that surfaces are matched on. */
  path: string;
  /** Written by `canonicalPath`: the query as it came, without its question mark. */
  query: string;
  /** Written by `canonicalPath`: what the endpoint does with models. */
  surface: Surface;
  /** Written by `canonicalPath`: the ids in the path, by the names that the surface's pattern gives them. */
  pathIds: Readonly<Record<string, string>>;
  /** Written by `authenticate`. */
  principal: Principal;
  /** Written by `authenticate`: the database could be read for it. Otherwise a decision asks once more who it is. */
  isPrincipalCurrent: boolean;
  /** Written by `authenticate`: leaves exactly the judged credential in the request. */
  credentialEdit: HeaderEdit;
  /** Written by `authorize`: the decision that the access line shows, the first denial or the last permit. */
  decision: Decision | undefined;
  /** Written by `authorize`: what the decision took, reads of the database included, without waiting for the body. */
  decisionMs: number | undefined;
  /** Written by `authorize` where the request saves a chat that runs must wait for; called when it has ended. */
  endSave: ((answered: boolean) => void) | undefined;
  /** Written by `authorize`: how many runs of models the request starts, if it starts any. */
  runs: number;
  /** Written by `authorize` where several runs or models are named: how many each organization's grants permitted. */
  runsByOrganization: ReadonlyMap<OrganizationId, number> | undefined;
  /** Written where the request fails (`enforcement/answers.ts`): row of the error table, and the system's word for what was behind it. */
  failure: { readonly code: ErrorCode; readonly cause: string | undefined } | undefined;
}

/**
 * Hono's environment: `c.env` is what the listener hands in, `c.get('scope')` what travels. Not `c.var.scope`, which
 * builds an object of all variables each time.
 */
export interface GateEnv {
  Bindings: { incoming: IncomingMessage; outgoing: ServerResponse; fault?: GatewayError };
  Variables: { scope: Scope };
}

const NO_EDIT: HeaderEdit = { remove: new Set(), add: [] };
const NO_ANSWER_EDITS: readonly AnswerEdit[] = [];
const UNJUDGED: Surface = { kind: 'refused' };
const ANONYMOUS: Principal = { kind: 'anonymous', because: 'no_credential' };

/** A request id we take over from the caller: what logs and headers can carry without escaping. */
const WELL_FORMED_ID = /^[\w.:@/+=-]{8,128}$/;

/** Every field starts at its most refusing value, so that a stage left out refuses rather than permits. */
export function createScope(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answerEdits: readonly AnswerEdit[] = NO_ANSWER_EDITS,
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
    limit: undefined,
    answerEdits,
    failure: undefined,
    outcome: undefined,
  };
}

const UUID_LENGTH = 36;
let uuids = Buffer.alloc(0);
let usedUuids = 0;

/**
 * @returns a random UUID (RFC 9562 5.4) of a stock of 256, as one flat text. `randomUUID` joins its text of pieces, with
 *   which `JSON.stringify` takes three times as long over the access line
 */
function createRequestId(): string {
  if (usedUuids === uuids.length) {
    uuids = Buffer.from(Array.from({ length: 256 }, () => randomUUID()).join(''), 'latin1');
    usedUuids = 0;
  }
  usedUuids += UUID_LENGTH;
  return uuids.toString('latin1', usedUuids - UUID_LENGTH, usedUuids);
}
