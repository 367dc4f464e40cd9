/** The only place that chooses a status and a text for a refusal. */
import type { IncomingMessage } from 'node:http';
import { type ErrorCode, ClientGone, GatewayError } from '../errors.ts';
import type { IdentityScope } from '../identity/authenticate.ts';
import { type Deny, DENY_REASONS } from '../policy/decision.ts';
import type { Audit } from '../telemetry/audit.ts';
import type { TelemetryScope } from '../telemetry/recent-decisions.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { sendAnswer } from '../transport/answer.ts';
import type { TransportScope } from '../transport/exchange.ts';

export type EnforcementScope = TransportScope & IdentityScope & TelemetryScope & OwnScope;

interface OwnScope {
  readonly surface: { readonly kind: string; readonly unlisted?: boolean };
  /** What the decision took, reads of the database included, without waiting for the body. */
  decisionMs: number | undefined;
  /** What a limit says of it, where that is asked beside the database. */
  readonly admission?: Promise<void> | undefined;
  /** A row of the error table, and the system's word for what was behind it. */
  failure: { readonly code: ErrorCode; readonly cause: string | undefined } | undefined;
  /** Where the request saves a chat that runs must wait for; called when it has ended. */
  endSave: ((answered: boolean) => void) | undefined;
}

/** `code`: a stable word, a reason in the caller's terms or an `ErrorCode`. */
type ErrorBody = Readonly<{ status: number; code: string; message: string }>;

/** OpenAI's own pairs of status and `type`, and Anthropic's. */
const OPENAI_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'insufficient_quota',
  403: 'permission_error',
  404: 'invalid_request_error',
  413: 'invalid_request_error',
  429: 'rate_limit_error',
};
const ANTHROPIC_TYPES: Record<number, string> = {
  ...OPENAI_TYPES,
  402: 'billing_error',
  404: 'not_found_error',
  413: 'request_too_large',
};

const DIALECTS = {
  'open-webui': ({ message }: ErrorBody) => ({ detail: message }),
  ollama: ({ message }: ErrorBody) => ({ error: message }),
  openai({ status, code, message }: ErrorBody) {
    const param = code.startsWith('model_') ? 'model' : null;
    return { error: { message, type: OPENAI_TYPES[status] ?? 'api_error', param, code } };
  },
  anthropic: ({ status, message }: ErrorBody) => ({
    type: 'error',
    error: { type: ANTHROPIC_TYPES[status] ?? 'api_error', message },
  }),
};

export type Dialect = keyof typeof DIALECTS;

type Answer = Readonly<{ status: number; headers: Readonly<Record<string, string>>; body: string }>;

function toAnswer(dialect: Dialect, error: ErrorBody, more: Answer['headers'] = {}): Answer {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', ...more };
  return { status: error.status, headers, body: JSON.stringify(DIALECTS[dialect](error)) };
}

/** `forbid` answers 403, `hide` 404. Never 401 for policy: clients log the user out on it. */
function denialAnswer(dialect: Dialect, denial: Deny, id: string, disclosure: 'forbid' | 'hide'): Answer {
  const error = describe(denial, disclosure === 'hide');
  // The backend's own words, which its page recognises
  const message = error.status === 401 ? error.message : `${error.message} (decision ${id})`;
  return toAnswer(dialect, { ...error, message });
}

function errorAnswer(dialect: Dialect, error: GatewayError, requestId: string): Answer {
  const { status, code, headers } = error;
  // what its reader asks an operator about
  const isAsked = status >= 500 || status === 402;
  const message = isAsked ? `${error.message} (request ${requestId})` : error.message;
  return toAnswer(dialect, { status, code, message }, headers);
}

function describe({ reason, model }: Deny, isHidden: boolean): ErrorBody {
  const shown = model && model.length > 200 ? `${model.slice(0, 200)}…` : model;
  const named = shown === undefined ? 'The model' : `The model "${shown}"`;
  const refused = isHidden ? { status: 404, code: 'model_not_found' } : { status: 403, code: 'model_not_permitted' };
  const unlisted = { status: 403, code: 'path_unlisted', message: 'This endpoint is not open to users here.' };
  return {
    policy: { ...refused, message: `${named} does not exist or your organization does not have access to it.` },
    stored: { ...refused, message: `This would run a stored ${FORBIDDEN_MODEL}` },
    saved: { ...refused, message: `This chat names a ${FORBIDDEN_MODEL} It was not saved.` },
    direct: { ...refused, code: 'direct_connection', message: 'Direct connections are switched off here.' },
    endpoint: isHidden ? { status: 404, code: 'not_found', message: 'Not Found' } : unlisted,
    unauthenticated: { status: 401, code: 'not_authenticated', message: 'Not authenticated' },
    identity: { status: 403, code: reason, message: IDENTITY[reason] ?? UNREADABLE },
    provider: { status: 404, code: 'unknown_endpoint', message: UNKNOWN_ENDPOINT },
    malformed: { status: 400, code: reason, message: MALFORMED[reason] ?? UNREADABLE },
  }[DENY_REASONS[reason].kind];
}

const FORBIDDEN_MODEL = 'model that does not exist or that your organization does not have access to.';
const MALFORMED: Partial<Record<Deny['reason'], string>> = {
  model_missing:
    'The request names no model where one is needed. Expected "model" with the id of a model, as a string.',
  content_unreadable:
    'The body of this request is of a type in which no model can be checked. Expected one Content-Type, application/json in UTF-8 (multipart/form-data for speech and pictures), and no Content-Encoding.',
};
const UNREADABLE =
  'The request names a model in a form that cannot be checked. Expected model ids as strings, and routing fields as objects.';

const IDENTITY: Partial<Record<Deny['reason'], string>> = {
  no_identity:
    'This call names no user. Set ENABLE_FORWARD_USER_INFO_HEADERS=true for Open WebUI; with a signing secret, the same FORWARD_USER_INFO_HEADER_JWT_SECRET on both sides.',
  identity_invalid:
    'The user whom this call names is not proved: its signed token has ended, or was signed with another FORWARD_USER_INFO_HEADER_JWT_SECRET.',
  user_unknown: 'The user whom this call names is not in the database of Open WebUI.',
};
const UNKNOWN_ENDPOINT = 'This endpoint of the provider is not served here, because what it runs cannot be judged.';

export type Answering = Readonly<{ dialect: Dialect; insteadOfDenial: string | undefined }>;

interface RefusalParts<Scope> {
  readonly audit: Pick<Audit, 'recordDecision'>;
  readonly log: Pick<Log, 'sparingly'>;
  readonly metrics: Pick<Metrics, 'failed'>;
  readonly denial: 'forbid' | 'hide';
  /** What stands behind this door, where it is not the backend. */
  readonly upstream?: string;
  readonly answeringOf: (scope: Scope) => Answering;
  /** Writes what lets a page of another origin read the answer. */
  readonly allowOrigin: (lines: string[], incoming: IncomingMessage) => void;
}

export type Refusal<Scope extends EnforcementScope> = ReturnType<typeof createRefusal<Scope>>;

export function createRefusal<Scope extends EnforcementScope>(parts: RefusalParts<Scope>) {
  const { audit, log, metrics, denial: disclosure, answeringOf, allowOrigin } = parts;

  function headerLines({ status, headers }: Answer, { requestId, answerEdits, incoming }: Scope): string[] {
    const lines = [...Object.entries(headers).flat(), 'x-request-id', requestId];
    allowOrigin(lines, incoming);
    for (const edit of answerEdits) edit(lines, status);
    return lines;
  }
  const send = (scope: Scope, answer: Answer): boolean =>
    sendAnswer(scope.outgoing, answer.status, headerLines(answer, scope), answer.body);

  function answerTo(scope: Scope, error: unknown): Answer | undefined {
    if (error instanceof ClientGone) return undefined;
    const failure = error instanceof GatewayError ? error : new GatewayError('internal', { cause: error });
    metrics.failed(failure.code);
    scope.failure = { code: failure.code, cause: failure.status >= 500 ? causeOf(failure) : undefined };
    if (failure.code === 'internal') {
      // found by one client, it is there for all: its stack once a minute is enough
      const fields = { request_id: scope.requestId, err: error };
      log.sparingly('error', error, fields, 'a request failed: this is a bug');
    }
    const answer = errorAnswer(answeringOf(scope).dialect, failure, scope.requestId);
    const { upstream } = parts;
    return upstream === undefined ? answer : { ...answer, body: answer.body.replace('The backend', `The ${upstream}`) };
  }
  return {
    deny(scope: Scope, denial: Deny): void {
      const id = audit.recordDecision(scope, denial, scope.decisionMs);
      const { dialect, insteadOfDenial: location } = answeringOf(scope);
      if (location === undefined || denial.reason === 'not_authenticated') {
        send(scope, denialAnswer(dialect, denial, id, disclosure));
      } else send(scope, { status: 302, headers: { location, 'cache-control': 'no-store' }, body: '' });
    },
    /** @returns the status of the answer; undefined where the client is gone */
    fail(scope: Scope, error: unknown): number | undefined {
      const answer = answerTo(scope, error);
      // An answer that has begun can only be cut, so that it does not look complete
      if (answer === undefined || !send(scope, answer)) scope.outgoing.destroy();
      return answer?.status;
    },
  };
}

/** The system's word (`ECONNREFUSED`, `SQLITE_BUSY`) says more than its sentence, and names no address or file. */
function causeOf({ cause }: GatewayError): string | undefined {
  // what the store says begins with SQLite's word
  if (typeof cause === 'string') return cause.split(':', 1)[0];
  if (!(cause instanceof Error)) return undefined;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
