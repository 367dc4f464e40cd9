import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Scope, createScope } from '../../../src/gate/scope.ts';
import { readTargetInto } from '../../../src/openwebui/match.ts';

/** A request and an answer as far as telemetry looks at them. */
export function sampleScope(request: { method?: string; url?: string; headers?: Record<string, string> } = {}): Scope {
  const incoming = { method: 'POST', url: '/api/chat/completions?x=secret', headers: {}, ...request };
  const outgoing = Object.assign(new EventEmitter(), { statusCode: 200, writableFinished: true });
  return createScope(incoming as unknown as IncomingMessage, outgoing as unknown as ServerResponse);
}

/** The surface of a request, and the ids in its path. */
export function surfaceOf(method: string, url: string): Pick<Scope, 'surface' | 'pathIds'> {
  const scope = sampleScope({ method, url });
  readTargetInto(scope);
  return scope;
}
