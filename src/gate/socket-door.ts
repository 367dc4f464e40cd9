/** WebSocket upgrades: scope, canonical path, authenticate, limit, and a tunnel. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Refusal } from '../enforcement/answers.ts';
import { type Identity, identify, recognize } from '../identity/authenticate.ts';
import { type Revocations, resolvingUnlessRevoked } from '../identity/revocation.ts';
import type { Limits, Release } from '../limits/limits.ts';
import { type RealtimeParts, createRealtimeJudge } from '../openwebui/decide-surface.ts';
import { socketSurface } from '../openwebui/endpoints.ts';
import { readTargetInto } from '../openwebui/match.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Observer } from '../telemetry/observe.ts';
import { gateFirstMessage, tunnel } from '../transport/tunnel.ts';
import type { Upstream } from '../transport/upstream.ts';
import type { SecureAnswers } from './answer-headers.ts';
import { type Scope, createScope } from './scope.ts';

interface SocketDoorParts extends Omit<RealtimeParts, 'resolveToken'> {
  readonly upstream: Upstream;
  readonly identity: Identity;
  readonly revocations?: Revocations | undefined;
  readonly observer: Observer<Scope>;
  readonly refusal: Refusal<Scope>;
  readonly secureAnswers: SecureAnswers;
  readonly limits: Pick<Limits<Scope>, 'admit' | 'admitInvocation'>;
  readonly metrics: Pick<Metrics, 'sockets'>;
  readonly open: boolean;
}

export function createSocketDoor(parts: SocketDoorParts) {
  const { upstream, observer, refusal, metrics, secureAnswers, limits } = parts;
  const judgeFirstMessage = createRealtimeJudge({ ...parts, resolveToken: resolvingUnlessRevoked(parts) });

  async function connect(scope: Scope, head: Buffer): Promise<number> {
    readTargetInto(scope);
    if (!parts.open) {
      // the token of a judged frame is looked up when it has come
      await (parts.store.isRemote ? recognize : identify)(scope, parts);
      await limits.admit(scope, 'request');
    }
    const isJudged = !parts.open && socketSurface(scope.incoming) === 'realtime';
    let release: Release | undefined;
    let hasEnded = false;
    const admitFirstMessage = async (text: string): Promise<boolean> => {
      const decision = await judgeFirstMessage(scope, text);
      if (decision === undefined) return false;
      release = await limits.admitInvocation(scope, decision);
      // Both sides may have left while the message was judged
      if (hasEnded) release();
      return true;
    };
    const gate = isJudged ? gateFirstMessage(admitFirstMessage) : undefined;
    metrics.sockets(1);
    try {
      return (await tunnel(upstream, scope, head, gate)).status;
    } finally {
      hasEnded = true;
      release?.();
      metrics.sockets(-1);
    }
  }

  return async function socketDoor(incoming: IncomingMessage, outgoing: ServerResponse, head: Buffer): Promise<void> {
    const scope = createScope(incoming, outgoing, secureAnswers.editsFor(incoming));
    observer.begin();
    try {
      observer.end(scope, await connect(scope, head));
    } catch (error) {
      observer.end(scope, refusal.fail(scope, error) ?? CLIENT_GONE);
    }
  };
}

/** nginx's word for a client that left before its answer. */
const CLIENT_GONE = 499;
