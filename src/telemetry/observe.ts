/** The access line and figures of every request: never a header's value, a query string or a body. */
import type { Stage } from '../stage.ts';
import type { OwnAnswer } from '../transport/answer.ts';
import { decisionFields } from './audit.ts';
import { type TelemetryScope, pathOf } from './recent-decisions.ts';
import type { FlatFields, Log } from './log.ts';
import type { Metrics } from './metrics.ts';

interface ObserverParts<Scope> {
  readonly log: Pick<Log, 'record'>;
  readonly metrics: Pick<Metrics, 'requestStarted' | 'requestAnswered'> & {
    requestEnded(figures: Parameters<Metrics['requestEnded']>[0], scope: Scope): void;
  };
  readonly mode: 'enforce' | 'report';
}

export type Observer<Scope extends TelemetryScope> = ReturnType<typeof createObserver<Scope>>;

export function createObserver<Scope extends TelemetryScope>({ log, metrics, mode }: ObserverParts<Scope>) {
  const end = (scope: Scope, status: number, endedAt = performance.now()): void => {
    const { incoming, outcome, decision, decisionEnd, startedAt, surface } = scope;
    const sent = outcome !== undefined && outcome.upstreamStartedAt > 0 ? outcome : undefined;
    const firstByteMs =
      sent !== undefined && sent.firstByteAt > 0 ? sent.firstByteAt - sent.upstreamStartedAt : undefined;
    metrics.requestEnded(
      {
        surface: surface.kind,
        status,
        decision: decision?.effect ?? 'none',
        addedMs: sent === undefined ? undefined : sent.upstreamStartedAt - startedAt + sent.rewriteMs,
        firstByteMs,
        upstreamMs: firstByteMs && sent && sent.lastByteAt - sent.upstreamStartedAt,
      },
      scope,
    );
    const durationMs = roundedMs(endedAt - startedAt);
    if (decisionEnd !== undefined) Object.assign(decisionEnd, { status, duration_ms: durationMs });
    const isCut = outcome?.truncated === true;
    const fields: FlatFields = {
      request_id: scope.requestId,
      method: incoming.method,
      path: pathOf(scope),
      status,
      surface: surface.kind,
      // the fields of a decision name the user too
      ...(decision === undefined ? userFields(scope) : decisionFields(scope, decision, scope.decisionId, mode)),
      limit: scope.limit,
      ...scope.usage,
      ...scope.failure,
      duration_ms: durationMs,
      upstream_ms: firstByteMs === undefined ? undefined : roundedMs(firstByteMs),
      truncated: isCut ? true : undefined,
    };
    log.record(decision?.effect === 'deny' || status >= 500 || isCut ? 'warn' : 'info', fields, 'request');
  };
  const observe: Stage<Scope> = (c, next) => {
    const scope = c.get('scope');
    metrics.requestStarted();
    scope.outgoing.once('close', () => {
      const endedAt = performance.now();
      // the last stages learn of the end by promises, which are settled only after this event
      setImmediate(() => end(scope, statusOf(scope), endedAt));
    });
    return next();
  };
  return {
    begin: () => metrics.requestStarted(),
    /** With 101 or a refusal; what its socket does afterwards is not part of the request. */
    end,
    answered({ status, code, incoming }: OwnAnswer): void {
      metrics.requestAnswered(status);
      const path = incoming === undefined ? undefined : pathOf({ incoming });
      const fields = { method: incoming?.method, path, status, surface: 'none', code };
      log.record(status >= 500 ? 'warn' : 'info', fields, 'request');
    },
    observe,
  };
}

const roundedMs = (ms: number): number => Math.round(ms * 100) / 100;

/** 499, nginx's word, where the client left before the answer was complete, unless it was the upstream that broke off. */
const statusOf = ({ outgoing, outcome }: TelemetryScope): number =>
  outgoing.writableFinished || outcome?.truncated === true ? outgoing.statusCode : 499;

function userFields({ principal }: TelemetryScope): FlatFields {
  if (principal.kind === 'user') return { user: principal.id };
  return principal.kind === 'anonymous' ? { anonymous: principal.because } : { unresolved: true };
}

const MOST_NAMED = 8;

/** Logs once each peer whose `X-Forwarded-For` is not believed: most often a proxy that is not named as trusted. */
export function createUntrustedProxyWarning(log: Pick<Log, 'warn'>): (peer: string) => void {
  const named = new Set<string>();
  return function warn(peer) {
    if (named.size === MOST_NAMED || named.has(peer)) return;
    named.add(peer);
    log.warn(
      { peer },
      `X-Forwarded-For from ${peer} is not believed, so all of its clients count as one address: if it is your proxy, name it in MODELGATE_TRUSTED_PROXIES`,
    );
  };
}
