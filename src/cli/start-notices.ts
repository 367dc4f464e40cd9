/** What the operator should hear at every start, because it weakens the gate or switches it off. */
import type { Config } from '../config/schema.ts';

/** Default key of Open WebUI 0.6 when it is started without its script (`env.py`): everybody knows it. */
const PUBLISHED_KEY = 't0p-s3cr3t';
/** RFC 7518 3.2 asks for 256 bits; whoever has fewer can be guessed offline from one token. */
const SHORTEST_KEY = 16;

/** @returns sentences, the gravest first; empty for a gate that enforces everything */
export function startNotices({ policy, identity, trustedProxies }: Config): readonly string[] {
  const notices: string[] = [];
  if (policy.bypass !== undefined) {
    notices.push(`MODEL ACCESS CONTROL IS SWITCHED OFF by ${policy.bypass}: nothing is filtered or refused`);
  }
  if (policy.mode === 'report') {
    notices.push('MODELGATE_MODE=report: nothing is filtered or refused, denials are only logged and counted');
  }
  const [key = ''] = identity.secretKeys;
  if (key === PUBLISHED_KEY) {
    notices.push("WEBUI_SECRET_KEY is the backend's published default: anybody can sign in as anybody");
  } else if (key.length < SHORTEST_KEY) {
    notices.push(
      `WEBUI_SECRET_KEY has fewer than ${SHORTEST_KEY} characters: it can be guessed from one session token`,
    );
  }
  if (trustedProxies.some(({ prefix }) => prefix === 0)) {
    notices.push('MODELGATE_TRUSTED_PROXIES contains every address: clients choose what the backend takes for theirs');
  }
  return notices;
}
