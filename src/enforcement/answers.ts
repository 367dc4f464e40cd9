/** Decision or error to answer: the only place that chooses a status and a text for a refusal. */
import type { IncomingMessage } from 'node:http';
import { ClientGone, ERRORS, GatewayError } from '../errors.ts';
import type { Scope } from '../gate/scope.ts';
import { type Deny, type DenyReason, DENY_REASONS } from '../policy/decision.ts';
import type { Audit } from '../telemetry/audit.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { sendAnswer } from '../transport/answer.ts';

/** The shape in which a caller expects to read a refusal. */
export type Dialect = 'open-webui' | 'openai' | 'ollama' | 'anthropic';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * @param disclosure `forbid` answers 403; `hide` answers 404 as for something that does not exist. Never 401 for
 *   policy: clients log the user out on it.
 */
export function denialAnswer(
  dialect: Dialect,
  denial: Deny,
  decisionId: string,
  disclosure: 'forbid' | 'hide',
): Answer {
  const error = { ...describe(denial, disclosure) };
  // The backend's own words, which its page recognises
  const message = error.status === 401 ? error.message : `${error.message} (decision ${decisionId})`;
  return toAnswer(dialect, { ...error, message }, {});
}

/** @param error a row of the error table */
export function errorAnswer(dialect: Dialect, error: GatewayError, requestId: string): Answer {
  const { status, code, headers } = error;
  const message = status >= 500 ? `${error.message} (request ${requestId})` : error.message;
  return toAnswer(dialect, { status, code, message }, headers);
}

function describe(denial: Deny, disclosure: 'forbid' | 'hide'): ErrorBody {
  const named = denial.model === undefined ? 'The model' : `The model "${shorten(denial.model)}"`;
  const refused =
    disclosure === 'hide' ? { status: 404, code: 'model_not_found' } : { status: 403, code: 'model_not_permitted' };
  switch (DENY_REASONS[denial.reason].kind) {
    case 'policy':
      return { ...refused, message: `${named} does not exist or your organization does not have access to it.` };
    case 'stored':
      return {
        ...refused,
        message: 'This would run a stored model that does not exist or that your organization does not have access to.',
      };
    case 'saved':
      return {
        ...refused,
        message:
          'This chat names a model that does not exist or that your organization does not have access to. It was not saved.',
      };
    case 'direct':
      return { ...refused, code: 'direct_connection', message: 'Direct connections are switched off here.' };
    case 'endpoint':
      return disclosure === 'hide'
        ? { status: 404, code: 'not_found', message: 'Not Found' }
        : { status: 403, code: 'path_unlisted', message: 'This endpoint is not open to users here.' };
    case 'unauthenticated':
      return { status: 401, code: 'not_authenticated', message: 'Not authenticated' };
    case 'malformed':
      return { status: 400, code: denial.reason, message: MALFORMED[denial.reason] ?? ERRORS.body_unreadable.text };
  }
}

const MALFORMED: Partial<Record<DenyReason, string>> = {
  model_missing:
    'The request names no model where one is needed. Expected "model" with the id of a model, as a string.',
  reference_unreadable:
    'The request names a model in a form that cannot be checked. Expected model ids as strings, and routing fields as objects.',
};

function toAnswer(dialect: Dialect, error: ErrorBody, headers: Readonly<Record<string, string>>): Answer {
  return {
    status: error.status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify(toErrorBody(dialect, error)),
  };
}

interface ErrorBody {
  readonly status: number;
  /** Stable machine word: a `DenyReason` in the caller's terms, or an `ErrorCode`. */
  readonly code: string;
  readonly message: string;
}

/** @returns the JSON value of an error answer in that dialect */
function toErrorBody(dialect: Dialect, { status, code, message }: ErrorBody): unknown {
  switch (dialect) {
    case 'open-webui':
      return { detail: message };
    case 'ollama':
      return { error: message };
    case 'openai':
      return {
        error: {
          message,
          type: OPENAI_TYPES[status] ?? 'api_error',
          param: code.startsWith('model_') ? 'model' : null,
          code,
        },
      };
    case 'anthropic':
      return { type: 'error', error: { type: ANTHROPIC_TYPES[status] ?? 'api_error', message } };
  }
}

/** OpenAI's own pairs of status and `type`. */
const OPENAI_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'invalid_request_error',
  413: 'invalid_request_error',
  429: 'rate_limit_error',
};

/** Anthropic's own pairs. */
const ANTHROPIC_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
};

const shorten = (model: string) => (model.length > 200 ? `${model.slice(0, 200)}…` : model);

// How a request ends that the gate answers itself: denied by policy, or failed. In the caller's dialect.

/** How a request is answered that goes no further. */
export interface Answering {
  readonly dialect: Dialect;
  /** Where a denied request is sent instead. */
  readonly insteadOfDenial: string | undefined;
}

interface RefusalParts {
  readonly audit: Pick<Audit, 'recordDecision'>;
  readonly log: Pick<Log, 'sparingly'>;
  readonly metrics: Pick<Metrics, 'failed'>;
  readonly denial: 'forbid' | 'hide';
  readonly answeringOf: (scope: Scope) => Answering;
  /** Writes what lets a page of another origin read the answer. */
  readonly allowOrigin: (lines: string[], incoming: IncomingMessage) => void;
}

export interface Refusal {
  /** Answers a denial and logs it. */
  deny(scope: Scope, denial: Deny): void;
  /** Answers what was thrown, if the client is still there; the one place where an error becomes a status. */
  fail(scope: Scope, error: unknown): void;
  /** The answer of `fail` alone, for the door that has no response object; undefined where the client is gone. */
  answerTo(scope: Scope, error: unknown): Answer | undefined;
  /** @returns the lines of an answer of ours, edited as the upstream's would be */
  headerLines(answer: Answer, scope: Scope): string[];
}

export function createRefusal(parts: RefusalParts): Refusal {
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
    // told by the access line
    scope.failure = { code: failure.code, cause: failure.status >= 500 ? causeOf(failure) : undefined };
    if (failure.code === 'internal') {
      // found by one client, it is there for all: its stack once a minute is enough
      const fields = { request_id: scope.requestId, err: error };
      log.sparingly('error', error, fields, 'a request failed: this is a bug');
    }
    return errorAnswer(answeringOf(scope).dialect, failure, scope.requestId);
  }
  return {
    deny(scope, denial) {
      const id = audit.recordDecision(scope, denial, scope.decisionMs);
      const { dialect, insteadOfDenial: location } = answeringOf(scope);
      if (location === undefined || denial.reason === 'not_authenticated') {
        send(scope, denialAnswer(dialect, denial, id, disclosure));
      } else send(scope, { status: 302, headers: { location, 'cache-control': 'no-store' }, body: '' });
    },
    fail(scope, error) {
      const answer = answerTo(scope, error);
      // An answer that has begun can only be cut, so that it does not look complete
      if (answer === undefined || !send(scope, answer)) scope.outgoing.destroy();
    },
    answerTo,
    headerLines,
  };
}

/** The system's word (`ECONNREFUSED`, `SQLITE_BUSY`) says more than its sentence, and names no address or file. */
function causeOf({ cause }: GatewayError): string | undefined {
  // what the store says begins with SQLite's word
  if (typeof cause === 'string') return cause.split(':', 1)[0];
  if (!(cause instanceof Error)) return undefined;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
