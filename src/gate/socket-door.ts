/** WebSocket upgrades: scope, canonical path, authenticate, limit, and a tunnel. */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Refusal } from '../enforcement/answers.ts';
import { type Identity, identify } from '../identity/authenticate.ts';
import type { Limits, Release } from '../limits/limits.ts';
import { type RealtimeParts, createRealtimeJudge } from '../openwebui/decide-surface.ts';
import { socketSurface } from '../openwebui/endpoints.ts';
import { createTargetReader } from '../openwebui/match.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Observer } from '../telemetry/observe.ts';
import { refuseUpgrade } from '../transport/answer.ts';
import { gateFirstMessage } from '../transport/tunnel.ts';
import { tunnel } from '../transport/upgrade.ts';
import type { Upstream } from '../transport/upstream.ts';
import type { SecureAnswers } from './answer-headers.ts';
import { type Scope, createScope } from './scope.ts';

interface SocketDoorParts extends Omit<RealtimeParts, 'resolveToken'> {
  readonly upstream: Upstream;
  readonly identity: Identity;
  readonly observer: Observer;
  readonly refusal: Refusal<Scope>;
  readonly secureAnswers: SecureAnswers;
  readonly limits: Pick<Limits<Scope>, 'admit' | 'admitInvocation'>;
  readonly metrics: Pick<Metrics, 'sockets'>;
  readonly open: boolean;
}

export function createSocketDoor(parts: SocketDoorParts) {
  const { upstream, observer, refusal, metrics, identity, secureAnswers, limits } = parts;
  const readTargetInto = createTargetReader();
  const resolveToken: RealtimeParts['resolveToken'] = (token, view) => identity.resolveToken(token, view);
  const judgeFirstMessage = createRealtimeJudge({ ...parts, resolveToken });

  async function connect(scope: Scope, socket: Duplex, head: Buffer): Promise<number> {
    readTargetInto(scope);
    if (!parts.open) {
      await identify(scope, parts);
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
      return (await tunnel(upstream, scope, { socket, head, gate })).status;
    } finally {
      hasEnded = true;
      release?.();
      metrics.sockets(-1);
    }
  }

  return async function socketDoor(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // The scope wants a response object; on this door it is never written to
    const scope = createScope(incoming, new ServerResponse(incoming), secureAnswers.editsFor(incoming));
    observer.begin();
    try {
      observer.end(scope, await connect(scope, socket, head));
    } catch (error) {
      const answer = refusal.answerTo(scope, error);
      if (answer === undefined) socket.destroy();
      else refuseUpgrade(socket, answer.status, refusal.headerLines(answer, scope), answer.body);
      observer.end(scope, answer?.status ?? CLIENT_GONE);
    }
  };
}

/** nginx's word for a client that left before its answer. */
const CLIENT_GONE = 499;
