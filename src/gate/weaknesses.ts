/** What the operator should hear at every start, because it weakens the gate or switches it off. */
import type { Config } from '../config/schema.ts';

/** Default key of Open WebUI 0.6 when it is started without its script (`env.py`): it is public. */
const PUBLISHED_KEY = 't0p-s3cr3t';
/** RFC 7518 3.2 asks for 256 bits; a shorter key can be guessed offline from one token. */
const SHORTEST_KEY = 16;
const NEW_KEY = 'Give the backend and the gate one new key: openssl rand -hex 32. All users have to sign in again.';

type Weakenable = Pick<Config, 'policy' | 'trustedProxies' | 'answers' | 'provider'> & {
  readonly identity: Pick<Config['identity'], 'secretKeys'>;
};

export const startNotices = (config: Config): readonly string[] => weaknessesOf(config).map(({ sentence }) => sentence);

/** @returns the gravest first, sentences without their full stop */
export function weaknessesOf({ policy, identity, trustedProxies, answers, provider }: Weakenable) {
  const [key] = identity.secretKeys;
  const signing = provider?.user.tokenSecret;
  const table: readonly (readonly [isSo: boolean, isGrave: boolean, sentence: string, remedy: string])[] = [
    [
      policy.bypass !== undefined,
      true,
      `MODEL ACCESS CONTROL IS SWITCHED OFF by ${policy.bypass}: nothing is filtered or refused`,
      `Take ${policy.bypass} out of the environment and restart the gate.`,
    ],
    [
      policy.mode === 'report',
      false,
      'MODELGATE_MODE=report: nothing is filtered or refused, denials are only logged and counted',
      'When the log shows no denial that surprises you, set MODELGATE_MODE=enforce.',
    ],
    [
      key === PUBLISHED_KEY,
      true,
      "WEBUI_SECRET_KEY is the backend's published default: every client can forge a session of any user",
      NEW_KEY,
    ],
    [
      key !== undefined && key !== PUBLISHED_KEY && key.length < SHORTEST_KEY,
      false,
      `WEBUI_SECRET_KEY has fewer than ${SHORTEST_KEY} characters: it can be guessed from one session token`,
      NEW_KEY,
    ],
    [
      signing !== undefined && signing.length < SHORTEST_KEY,
      false,
      `FORWARD_USER_INFO_HEADER_JWT_SECRET has fewer than ${SHORTEST_KEY} characters: what holds the access key can guess it, and then names any user`,
      'Give the backend and the gate one new secret: openssl rand -hex 32.',
    ],
    [
      trustedProxies.some(({ prefix }) => prefix === 0),
      false,
      'MODELGATE_TRUSTED_PROXIES contains every address: clients choose what the backend takes for theirs',
      'Name only the addresses of your own proxies, such as 172.18.0.0/16.',
    ],
    [
      answers.cookies.auth.secure && trustedProxies.length === 0,
      false,
      'session cookies are Secure, but MODELGATE_TRUSTED_PROXIES names no proxy that speaks TLS: over http, but for localhost, browsers drop them and no user stays signed in',
      'Name the proxy that speaks TLS in MODELGATE_TRUSTED_PROXIES, such as 172.18.0.0/16.',
    ],
  ];
  return table.filter(([isSo]) => isSo).map(([, isGrave, sentence, remedy]) => ({ sentence, remedy, isGrave }));
}
