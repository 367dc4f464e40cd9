/** How a request ends that the gate answers itself: denied by policy, or failed. In the caller's dialect. */
import type { IncomingMessage } from 'node:http';
import type { Answer } from './enforcement/denial.ts';
import { denialAnswer, errorAnswer } from './enforcement/denial.ts';
import { dialectOfPath } from './enforcement/dialect.ts';
import { ClientGone, GatewayError } from './errors.ts';
import type { Deny } from './policy/decision.ts';
import type { Scope } from './scope.ts';
import type { Audit } from './telemetry/audit.ts';
import type { Log } from './telemetry/log.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { sendAnswer } from './transport/answer.ts';

export interface RefusalParts {
  readonly audit: Pick<Audit, 'recordDecision'>;
  readonly log: Pick<Log, 'sparingly'>;
  readonly metrics: Pick<Metrics, 'failed'>;
  readonly denial: 'forbid' | 'hide';
  /** Writes what lets a page of another origin read the answer. */
  readonly allowOrigin: (lines: string[], incoming: IncomingMessage) => void;
}

export interface Refusal {
  /** Answers a denial and logs it. */
  deny(scope: Scope, denial: Deny): void;
  /** Answers what was thrown, if anybody is still there; the one place where an error becomes a status. */
  fail(scope: Scope, error: unknown): void;
  /** The answer of `fail` alone, for the door that has no response object; undefined where nobody is there to read it. */
  answerTo(scope: Scope, error: unknown): Answer | undefined;
  /** @returns the lines of an answer of ours, edited as the upstream's would be */
  headerLines(answer: Answer, scope: Scope): string[];
}

export function createRefusal(parts: RefusalParts): Refusal {
  const { audit, log, metrics, denial: disclosure, allowOrigin } = parts;

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
    return errorAnswer(dialectOf(scope), failure, scope.requestId);
  }
  return {
    deny(scope, denial) {
      const id = audit.recordDecision(scope, denial, scope.decisionMs);
      const { surface } = scope;
      const instead = surface.kind === 'invokes' ? surface.insteadOfDenial : undefined;
      if (instead === undefined || denial.reason === 'not_authenticated') {
        send(scope, denialAnswer(dialectOf(scope), denial, id, disclosure));
      } else send(scope, { status: 302, headers: { location: instead, 'cache-control': 'no-store' }, body: '' });
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

function dialectOf({ surface, path, incoming }: Scope) {
  return 'dialect' in surface ? surface.dialect : dialectOfPath(path === '' ? (incoming.url ?? '') : path);
}

/** The system's word (`ECONNREFUSED`, `SQLITE_BUSY`) says more than its sentence, and names no address or file. */
function causeOf({ cause }: GatewayError): string | undefined {
  // what the store says begins with SQLite's word
  if (typeof cause === 'string') return cause.split(':', 1)[0];
  if (!(cause instanceof Error)) return undefined;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
