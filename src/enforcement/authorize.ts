import type { MiddlewareHandler, Next } from 'hono';
import type { ErrorCode } from '../errors.ts';
import { GatewayError } from '../errors.ts';
import type { Decision, Deny } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { GateEnv, Scope } from '../scope.ts';

export interface AuthorizeParts {
  /** @returns undefined where there is nothing to decide; rejects with GatewayError where it cannot be decided */
  readonly decideSurface: (scope: Scope) => Promise<Decision | undefined>;
  /** In `report` mode the gate decides, records and lets everything go on. */
  readonly mode: 'enforce' | 'report';
  /** Logs the denial and answers the request. */
  readonly refuse: (scope: Scope, denial: Deny) => void;
  /** Logs a decision that lets the request go on. */
  readonly record: (scope: Scope, decision: Decision) => void;
}

/** The stage that refuses: a request goes on only if every model that it names or would run is permitted. */
export function authorize(parts: AuthorizeParts): MiddlewareHandler<GateEnv> {
  return function authorize(c, next) {
    const scope = c.get('scope');
    const { surface } = scope;
    // Nothing to decide costs no promise: chats, files and the page itself
    if (surface.kind === 'neutral' && surface.unlisted === undefined) return next();
    return decideThen(scope, next);
  };

  async function decideThen(scope: Scope, next: Next): ReturnType<MiddlewareHandler<GateEnv>> {
    const decision = await parts.decideSurface(scope).catch((error: unknown) => reported(scope, error));
    if (decision?.effect === 'deny' && parts.mode === 'enforce') {
      parts.refuse(scope, decision);
      scope.endSave?.(true);
      return;
    }
    if (decision !== undefined) parts.record(scope, decision);
    // Only a save that runs wait for is waited for here
    if (scope.endSave === undefined) return next();
    try {
      await next();
    } finally {
      scope.endSave(scope.outcome !== undefined && !scope.outcome.truncated);
    }
  }

  /** Reporting refuses nothing that can still be sent on; what cannot be judged is reported as a denial. */
  function reported(scope: Scope, error: unknown): Deny {
    scope.endSave?.(true);
    if (parts.mode !== 'report' || !(error instanceof GatewayError) || !REPORTABLE.has(error.code)) throw error;
    // A thread that was stopped has taken the body with it: nothing is left to be sent on
    if (error.code === 'body_too_complex' && scope.body === undefined) throw error;
    return deny('reference_unreadable');
  }
}

const REPORTABLE: ReadonlySet<ErrorCode> = new Set(['body_unreadable', 'body_too_complex', 'policy_unavailable']);
