/** Whether the backend answers where the gate expects it, and whether both mean the same time. */
import { createHmac, randomUUID } from 'node:crypto';
import { detailOf } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import { tryParseJson, isObject } from '../references/json.ts';
import { NEWEST_KNOWN_RELEASE } from '../store/backend-releases.ts';
import { unreachableBecause } from '../transport/upstream.ts';
import { type Finding, ok, problem, unknown, warning } from './finding.ts';

const NAME = 'backend';
const ANSWER_MS = 5_000;
/** Session tokens end by the clock: what one side calls expired the other still takes. */
const LARGEST_SKEW_MS = 5_000;

interface BackendSeen {
  readonly upstream: URL;
  /** Candidates, to be tried in this order; empty where none is set. */
  readonly secretKeys: readonly string[];
  readonly signal: AbortSignal;
}

/** Never rejects: a backend that does not answer is a finding. */
export async function checkBackend({ upstream, secretKeys, signal }: BackendSeen): Promise<readonly Finding[]> {
  const health = await ask(upstream, '/health', signal);
  if ('trouble' in health) {
    return [
      problem(NAME, `${upstream.origin} ${health.trouble}.`, 'Start the backend, or correct MODELGATE_UPSTREAM_URL.'),
    ];
  }
  if (health.status !== 200) {
    return [
      problem(
        NAME,
        `${upstream.origin}/health answers ${health.status}, and Open WebUI would answer 200.`,
        'Look whether MODELGATE_UPSTREAM_URL names Open WebUI itself, and not another server or the gate.',
      ),
    ];
  }
  const version = await readVersion(upstream, signal);
  return [
    version === undefined
      ? warning(
          NAME,
          `${upstream.origin} is healthy, but does not say which release of Open WebUI it is (/api/version).`,
          'Look whether MODELGATE_UPSTREAM_URL names Open WebUI itself.',
        )
      : ok(
          NAME,
          `${upstream.origin} is Open WebUI ${quoted(version).slice(1, -1)}, and healthy (tested: up to ${NEWEST_KNOWN_RELEASE}).`,
        ),
    checkClock(health),
    ...(secretKeys.length === 0 || version === undefined ? [] : [await checkSecretKey(upstream, secretKeys, signal)]),
  ];
}

type Answer = Exclude<Awaited<ReturnType<typeof ask>>, { readonly trouble: string }>;

/** @returns the answer, its Date field (NaN where there is none), and the moments around it */
async function ask(upstream: URL, path: string, signal: AbortSignal, headers: Record<string, string> = {}) {
  const askedAt = Date.now();
  try {
    const response = await fetch(new URL(path, upstream), {
      headers,
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    });
    const answeredAt = Date.now();
    const date = Date.parse(response.headers.get('date') ?? '');
    return { status: response.status, text: await response.text(), date, askedAt, answeredAt };
  } catch (error) {
    return { trouble: signal.aborted ? 'was not asked: the command was stopped' : unreachableBecause(error) };
  }
}

async function readVersion(upstream: URL, signal: AbortSignal): Promise<string | undefined> {
  const answer = await ask(upstream, '/api/version', signal);
  const document = 'trouble' in answer ? undefined : tryParseJson(answer.text);
  const version = isObject(document) ? document['version'] : undefined;
  return typeof version === 'string' ? version.slice(0, 40) : undefined;
}

/** The field counts whole seconds, and the answer was made somewhere between the two moments. */
function checkClock({ date, askedAt, answeredAt }: Answer): Finding {
  if (Number.isNaN(date)) return unknown('clock', 'The backend does not say what time it is (no Date field).');
  const behind = askedAt - (date + 1_000);
  const ahead = date - answeredAt;
  const skew = Math.max(behind, ahead, 0);
  if (skew <= LARGEST_SKEW_MS) return ok('clock', 'The backend and this machine agree on the time.');
  return warning(
    'clock',
    `The clock of the backend is ${Math.round(skew / 1_000).toLocaleString('en')} s ${ahead > behind ? 'ahead of' : 'behind'} this machine's: session tokens end at different times for the two.`,
    'Let both machines keep time by NTP (timedatectl set-ntp true).',
  );
}

/** What `get_current_user` says where the signature is wrong, and only there (utils/auth.py, 0.6.18 and 0.12.4). */
const WRONG_SIGNATURE = '401 Unauthorized';
const SECRET = 'secret key';

/**
 * Signs a token for a user that does not exist. The backend refuses it either way, but in other words where the signature
 * is wrong.
 */
async function checkSecretKey(upstream: URL, keys: readonly string[], signal: AbortSignal): Promise<Finding> {
  const refusalOf = async (key: string): Promise<string | undefined> => {
    const answer = await ask(upstream, '/api/v1/auths/', signal, {
      authorization: `Bearer ${tokenOfUnknownUser(key)}`,
    });
    return 'trouble' in answer || answer.status !== 401 ? undefined : detailOf(answer.text);
  };
  if ((await refusalOf(randomUUID())) !== WRONG_SIGNATURE) return UNKNOWN_KEY;
  for (const key of keys) {
    const detail = await refusalOf(key);
    if (detail === undefined) return UNKNOWN_KEY;
    if (detail !== WRONG_SIGNATURE)
      return ok(SECRET, "It is the backend's: the backend knows the signature of a test token.");
  }
  return problem(
    SECRET,
    "It is not the backend's: the backend refuses what is signed with it, so no user who signs in is known to the gate.",
    'Give the gate the same WEBUI_SECRET_KEY as the backend, or the file that the backend made (.webui_secret_key).',
  );
}

const UNKNOWN_KEY = unknown(
  SECRET,
  "Whether it is the backend's could not be found out: it answered a test token in no known way.",
);

function tokenOfUnknownUser(key: string): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  // without times: clocks that differ must not look like keys that differ
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ id: randomUUID() })}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
