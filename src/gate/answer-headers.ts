/** By scheme, who may load a file, and the origin of the page. The edits are made at start. */
import type { IncomingMessage } from 'node:http';
import type { Config } from '../config/schema.ts';
import { ANNOUNCED, READABLE } from '../limits/headers.ts';
import { cookiePurpose, isLoadedBySandbox } from '../openwebui/endpoints.ts';
import { type PeerLookup, cameByHttps } from '../transport/client.ts';
import type { AnswerEdit } from '../transport/exchange.ts';
import { createCrossOrigin, secureAnswer } from '../transport/security-headers.ts';

export type SecureAnswers = ReturnType<typeof createSecureAnswers>;

export function createSecureAnswers(
  { answers, trustedProxies, limits }: Pick<Config, 'answers' | 'trustedProxies' | 'limits'>,
  peerOf: PeerLookup,
) {
  const { headers, backendHeaders: backendFields, cookies } = answers;
  const cookieRules = (name: string) => {
    const purpose = cookiePurpose(name);
    return purpose === undefined ? undefined : cookies[purpose];
  };
  // Also of answers that are not counted: what is left with a provider says what other organizations do
  const stated = Object.values(limits).some((limit) => limit !== 'off') ? ANNOUNCED : [];
  const edits = (fields: Headers): AnswerEdit[] => [secureAnswer({ fields, backendFields, stated, cookieRules })];
  const http = overHttp(headers, trustedProxies.length > 0);
  const ordinary = { http: edits(http), https: edits(headers) };
  const forSandboxes = { http: edits(loadableByAll(http)), https: edits(loadableByAll(headers)) };
  const crossOrigin = createCrossOrigin(answers.origins, ['x-request-id', ...READABLE]);
  return {
    /** Before all other edits. */
    editsFor(incoming: IncomingMessage): readonly AnswerEdit[] {
      const byScheme = isLoadedBySandbox(incoming.url ?? '') ? forSandboxes : ordinary;
      const chosen = cameByHttps(incoming, peerOf(incoming.socket)) ? byScheme.https : byScheme.http;
      const exposing = crossOrigin.edits(incoming);
      return exposing.length === 0 ? chosen : [...chosen, ...exposing];
    },
    /** For answers of ours, before they are edited. */
    allowOrigin: crossOrigin.allow,
    /** For answers that no stage gives; without a request where what came is none. */
    editOwn(lines: string[], status: number, incoming: IncomingMessage | undefined): void {
      crossOrigin.allow(lines, incoming);
      const exposing = incoming === undefined ? [] : crossOrigin.edits(incoming);
      for (const edit of [...ordinary.http, ...exposing]) edit(lines, status);
    },
  };
}

type Headers = Config['answers']['headers'];

/** RFC 6797 7.2: never over http. Without a trusted proxy the scheme is not known. */
function overHttp(headers: Headers, isSchemeKnown: boolean): Headers {
  const isOff = isSchemeKnown || headers['strict-transport-security'] === 'off';
  return { ...headers, 'strict-transport-security': isOff ? 'off' : 'backend' };
}

function loadableByAll(headers: Headers): Headers {
  const value = headers['cross-origin-resource-policy'];
  const isOurs = value !== 'off' && value !== 'backend';
  return isOurs ? { ...headers, 'cross-origin-resource-policy': 'cross-origin' } : headers;
}
