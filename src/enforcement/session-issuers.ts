/**
 * Where Open WebUI issues sessions, as read in 0.6.18 and 0.12.4: sign-in, sign-up, LDAP, the second factor (0.12), the
 * page's own look at its session (`GET /api/v1/auths/`) and the callbacks of OAuth set the cookie `token`. Two routes
 * give a token in their JSON alone: adding a user, and the exchange of a provider's token (0.12).
 *
 * Elsewhere a cookie of this name proves nothing: the answers of providers and tools carry fields of their own.
 */
import type { MiddlewareHandler } from 'hono';
import type { GateEnv } from '../scope.ts';
import type { AnswerRewrite } from '../transport/exchange.ts';

const ISSUER = /^\/(?:api\/v1\/auths|oauth)(?:\/|$)/;
const IN_BODY = /^\/api\/v1\/auths\/(?:add|oauth\/[^/]+\/token\/exchange)\/?$/;
/** The first pair of a `Set-Cookie` line; a cookie that is deleted has no value like this. */
const TOKEN_COOKIE = /^\s*token\s*=\s*"?([\w-]+\.[\w-]+\.[\w-]+)"?\s*(?:;|$)/;

/** @param onIssued called with each token that the backend issues, before the client has it; must not throw */
export function watchIssuedSessions(onIssued: (token: string) => void): MiddlewareHandler<GateEnv> {
  const readBody: AnswerRewrite = (answer) => {
    const token = answer.status === 200 ? tokenOf(answer.body) : undefined;
    if (token !== undefined) onIssued(token);
    return answer;
  };
  const readCookies = (lines: readonly string[]): void => {
    for (let at = 0; at + 1 < lines.length; at += 2) {
      const token = lines[at] === 'set-cookie' ? TOKEN_COOKIE.exec(lines[at + 1] ?? '')?.[1] : undefined;
      if (token !== undefined) onIssued(token);
    }
  };
  return function watchIssuedSessions(c, next) {
    const scope = c.get('scope');
    if (ISSUER.test(scope.path)) {
      scope.answerEdits = [...scope.answerEdits, readCookies];
      if (scope.incoming.method === 'POST' && IN_BODY.test(scope.path)) scope.rewrite = readBody;
    }
    return next();
  };
}

function tokenOf(body: Buffer): string | undefined {
  try {
    const { token } = JSON.parse(body.toString('utf8')) as { token?: unknown };
    return typeof token === 'string' ? token : undefined;
  } catch {
    return undefined; // not what the route answers: there is nothing to judge
  }
}
