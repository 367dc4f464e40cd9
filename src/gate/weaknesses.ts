/** What the operator should hear at every start, because it weakens the gate or switches it off. */
import type { Config } from '../config/schema.ts';

/** Default key of Open WebUI 0.6 when it is started without its script (`env.py`): it is public. */
const PUBLISHED_KEY = 't0p-s3cr3t';
/** RFC 7518 3.2 asks for 256 bits; a shorter key can be guessed offline from one token. */
const SHORTEST_KEY = 16;

interface Weakness {
  /** Without its full stop. */
  readonly sentence: string;
  readonly remedy: string;
  /** Nothing is enforced, or sessions can be forged. */
  readonly isGrave: boolean;
}

/** What can be weak; `secretKeys` is empty where the caller has none to look at. */
type Weakenable = Pick<Config, 'policy' | 'trustedProxies' | 'answers'> & {
  readonly identity: Pick<Config['identity'], 'secretKeys'>;
};

/** @returns sentences, the gravest first; empty for a gate that enforces everything */
export const startNotices = (config: Config): readonly string[] => weaknessesOf(config).map(({ sentence }) => sentence);

/** @returns the gravest first; empty for a gate that enforces everything */
export function weaknessesOf({ policy, identity, trustedProxies, answers }: Weakenable): readonly Weakness[] {
  const found: Weakness[] = [];
  if (policy.bypass !== undefined) {
    found.push({
      sentence: `MODEL ACCESS CONTROL IS SWITCHED OFF by ${policy.bypass}: nothing is filtered or refused`,
      remedy: `Take ${policy.bypass} out of the environment and restart the gate.`,
      isGrave: true,
    });
  }
  if (policy.mode === 'report') {
    found.push({
      sentence: 'MODELGATE_MODE=report: nothing is filtered or refused, denials are only logged and counted',
      remedy: 'When the log shows no denial that surprises you, set MODELGATE_MODE=enforce.',
      isGrave: false,
    });
  }
  const [key] = identity.secretKeys;
  if (key === PUBLISHED_KEY) {
    found.push({
      sentence: "WEBUI_SECRET_KEY is the backend's published default: every client can forge a session of any user",
      remedy: `${NEW_KEY} All users have to sign in again.`,
      isGrave: true,
    });
  } else if (key !== undefined && key.length < SHORTEST_KEY) {
    found.push({
      sentence: `WEBUI_SECRET_KEY has fewer than ${SHORTEST_KEY} characters: it can be guessed from one session token`,
      remedy: `${NEW_KEY} All users have to sign in again.`,
      isGrave: false,
    });
  }
  if (trustedProxies.some(({ prefix }) => prefix === 0)) {
    found.push({
      sentence: 'MODELGATE_TRUSTED_PROXIES contains every address: clients choose what the backend takes for theirs',
      remedy: 'Name only the addresses of your own proxies, such as 172.18.0.0/16.',
      isGrave: false,
    });
  }
  if (answers.cookies.auth.secure && trustedProxies.length === 0) {
    found.push({
      sentence:
        'session cookies are Secure, but MODELGATE_TRUSTED_PROXIES names no proxy that speaks TLS: over http, but for localhost, browsers drop them and no user stays signed in',
      remedy: 'Name the proxy that speaks TLS in MODELGATE_TRUSTED_PROXIES, such as 172.18.0.0/16.',
      isGrave: false,
    });
  }
  return found;
}

const NEW_KEY = 'Give the backend and the gate one new key: openssl rand -hex 32.';
