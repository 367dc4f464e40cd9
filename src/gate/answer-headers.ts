/**
 * Which security headers and cookie rules an answer gets: the same for all, but for what depends on the scheme that the
 * client used, on who may load a file, and on the origin of the page that asks. The edits are made at start; a request
 * only chooses.
 */
import type { IncomingMessage } from 'node:http';
import type { Config } from '../config/schema.ts';
import { ANNOUNCED, READABLE } from '../limits/headers.ts';
import { cookiePurpose, isLoadedBySandbox } from '../openwebui/endpoints.ts';
import { type PeerLookup, cameByHttps } from '../transport/client.ts';
import type { AnswerEdit } from '../transport/exchange.ts';
import { createCrossOrigin, secureAnswer } from '../transport/security-headers.ts';

export interface SecureAnswers {
  /** For the answer to this request, as the first of its edits. */
  editsFor(incoming: IncomingMessage): readonly AnswerEdit[];
  /** Lets the page that asks read an answer of ours, before it is edited. */
  allowOrigin(lines: string[], incoming: IncomingMessage): void;
  /** All of it for answers that no stage gives; without a request where what came is none. */
  editOwn(lines: string[], status: number, incoming: IncomingMessage | undefined): void;
}

export function createSecureAnswers(
  { answers, trustedProxies, limits }: Pick<Config, 'answers' | 'trustedProxies' | 'limits'>,
  peerOf: PeerLookup,
): SecureAnswers {
  const { headers, backendHeaders: backendFields, cookies } = answers;
  const cookieRules = (name: string) => {
    const purpose = cookiePurpose(name);
    return purpose === undefined ? undefined : cookies[purpose];
  };
  // Also of answers that are not counted: what is left with a provider says what other organizations do
  const stated = Object.values(limits).some((limit) => limit !== 'off') ? ANNOUNCED : [];
  const edit = (fields: Headers): AnswerEdit => secureAnswer({ fields, backendFields, stated, cookieRules });
  const http = { ...headers, ...overHttp(headers, trustedProxies.length > 0) };
  const plain = edit(http);
  const ordinary = { http: [plain], https: [edit(headers)] };
  const forSandboxes = { http: [edit(loadableByAll(http))], https: [edit(loadableByAll(headers))] };
  const crossOrigin = createCrossOrigin({ origins: answers.origins, exposed: ['x-request-id', ...READABLE] });
  return {
    editsFor(incoming) {
      const edits = isLoadedBySandbox(incoming.url ?? '') ? forSandboxes : ordinary;
      const chosen = cameByHttps(incoming, peerOf(incoming.socket)) ? edits.https : edits.http;
      const exposing = crossOrigin.edits(incoming);
      return exposing.length === 0 ? chosen : [...chosen, ...exposing];
    },
    allowOrigin: crossOrigin.allow,
    editOwn(lines, status, incoming) {
      crossOrigin.allow(lines, incoming);
      plain(lines, status);
      if (incoming !== undefined) for (const edit of crossOrigin.edits(incoming)) edit(lines, status);
    },
  };
}

type Headers = Config['answers']['headers'];

const TRANSPORT_SECURITY = 'strict-transport-security';

/** RFC 6797 7.2: never over http. Where no proxy is trusted to report https, the backend's own line is not ours to judge. */
function overHttp(headers: Headers, isSchemeKnown: boolean): Partial<Headers> {
  const value = headers[TRANSPORT_SECURITY];
  return { [TRANSPORT_SECURITY]: isSchemeKnown || value === 'off' ? 'off' : 'backend' };
}

function loadableByAll(headers: Headers): Headers {
  const value = headers['cross-origin-resource-policy'];
  return value === 'off' || value === 'backend'
    ? headers
    : { ...headers, 'cross-origin-resource-policy': 'cross-origin' };
}
