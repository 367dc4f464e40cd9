/** Whether the backend answers where the gate expects it, and whether both mean the same time and the same key. */
import { createHmac, randomUUID } from 'node:crypto';
import { detailOf } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import { tryParseJson, isObject } from '../references/json.ts';
import { NEWEST_KNOWN_RELEASE } from '../store/backend-releases.ts';
import { unreachableBecause } from '../transport/upstream.ts';
import { type Finding, type Verdict, findingsOf, ok, problem, unknown, warning } from './finding.ts';

const ANSWER_MS = 5_000;
/** Session tokens end by the clock: what one side calls expired the other still takes. */
const LARGEST_SKEW_MS = 5_000;

/** @param secretKeys candidates, to be tried in this order @returns never rejects: a backend that does not answer is a finding */
export async function checkBackend(
  upstream: URL,
  secretKeys: readonly string[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { origin } = upstream;
  const ask: Ask = (path, token) => askOnce(new URL(path, upstream), signal, token);
  const health = await ask('/health');
  if (health.trouble !== undefined) {
    const backend = problem(`${origin} ${health.trouble}.`, 'Start the backend, or correct MODELGATE_UPSTREAM_URL.');
    return findingsOf({ backend });
  }
  if (health.status !== 200) {
    const finding = `${origin}/health answers ${health.status}, and Open WebUI would answer 200.`;
    return findingsOf({ backend: problem(finding, `${LOOK}, and not another server or the gate.`) });
  }
  const version = await readVersion(ask);
  if (version === undefined) {
    const finding = `${origin} is healthy, but does not say which release of Open WebUI it is (/api/version).`;
    return findingsOf({ backend: warning(finding, `${LOOK}.`), clock: checkClock(health, BACKEND) });
  }
  const release = `${origin} is Open WebUI ${quoted(version).slice(1, -1)}`;
  return findingsOf({
    backend: ok(`${release}, and healthy (tested: up to ${NEWEST_KNOWN_RELEASE}).`),
    clock: checkClock(health, BACKEND),
    'secret key': secretKeys.length === 0 ? [] : await checkSecretKey(ask, secretKeys),
  });
}

const LOOK = 'Look whether MODELGATE_UPSTREAM_URL names Open WebUI itself';

type Ask = (path: string, token?: string) => ReturnType<typeof askOnce>;

/** @returns the answer; status 0 and the trouble in words where there was none */
async function askOnce(target: URL, signal: AbortSignal, token: string | undefined) {
  const askedAt = Date.now();
  const nothing = { status: 0, text: '', date: Number.NaN, askedAt, answeredAt: askedAt };
  try {
    const response = await fetch(target, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    });
    const answeredAt = Date.now();
    const date = Date.parse(response.headers.get('date') ?? '');
    return { ...nothing, status: response.status, text: await response.text(), date, answeredAt, trouble: undefined };
  } catch (error) {
    return {
      ...nothing,
      trouble: signal.aborted ? 'was not asked: the command was stopped' : unreachableBecause(error),
    };
  }
}

async function readVersion(ask: Ask): Promise<string | undefined> {
  const document = tryParseJson((await ask('/api/version')).text);
  const version = isObject(document) ? document['version'] : undefined;
  return typeof version === 'string' ? version.slice(0, 40) : undefined;
}

/** Whatever a provider answers has the time of its clock. @returns a verdict for each; never rejects */
export async function checkProviderClocks(
  providers: readonly { readonly url: URL }[],
  signal: AbortSignal,
): Promise<readonly Verdict[]> {
  const origins = [...new Set(providers.map(({ url }) => url.origin))];
  const asked = origins.map(async (origin) => {
    const answer = await askOnce(new URL(origin), signal, undefined);
    if (answer.trouble !== undefined) return unknown(`The clock of ${origin} was not compared: it does not answer.`);
    return checkClock(answer, { name: origin, consequence: 'budgets begin and end at another time than its bills' });
  });
  return Promise.all(asked);
}

interface Clock {
  readonly name: string;
  /** Of a difference. */
  readonly consequence: string;
}

const BACKEND: Clock = { name: 'the backend', consequence: 'session tokens end at different times for the two' };

/** The field counts whole seconds, and the answer was made somewhere between the two moments. */
function checkClock({ date, askedAt, answeredAt }: Awaited<ReturnType<Ask>>, { name, consequence }: Clock): Verdict {
  const whose = name.replace(/^t/, 'T');
  if (Number.isNaN(date)) return unknown(`${whose} does not say what time it is (no Date field).`);
  const [behind, ahead] = [askedAt - (date + 1_000), date - answeredAt];
  const skew = Math.max(behind, ahead);
  if (skew <= LARGEST_SKEW_MS) return ok(`${whose} and this machine agree on the time.`);
  const off = `${Math.round(skew / 1_000).toLocaleString('en')} s ${ahead > behind ? 'ahead of' : 'behind'}`;
  return warning(
    `The clock of ${name} is ${off} this machine's: ${consequence}.`,
    'Let both machines keep time by NTP (timedatectl set-ntp true).',
  );
}

/** What `get_current_user` says where the signature is wrong, and only there (utils/auth.py, 0.6.18 and 0.12.4). */
const WRONG_SIGNATURE = '401 Unauthorized';

/** Signs a token for a user that does not exist: the backend refuses it in other words where the signature is wrong. */
async function checkSecretKey(ask: Ask, keys: readonly string[]): Promise<Verdict> {
  const refusalOf = async (key: string): Promise<string | undefined> => {
    const { status, text } = await ask('/api/v1/auths/', tokenOfUnknownUser(key));
    return status === 401 ? detailOf(text) : undefined;
  };
  if ((await refusalOf(randomUUID())) !== WRONG_SIGNATURE) return UNKNOWN_KEY;
  for (const key of keys) {
    const detail = await refusalOf(key);
    if (detail === undefined) return UNKNOWN_KEY;
    if (detail !== WRONG_SIGNATURE) return ok("It is the backend's: the backend knows the signature of a test token.");
  }
  return problem(
    "It is not the backend's: the backend refuses what is signed with it, so no user who signs in is known to the gate.",
    'Give the gate the same WEBUI_SECRET_KEY as the backend, or the file that the backend made (.webui_secret_key).',
  );
}

const UNKNOWN_KEY = unknown(
  "Whether it is the backend's could not be found out: it answered a test token in no known way.",
);

function tokenOfUnknownUser(key: string): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  // without times: clocks that differ must not look like keys that differ
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ id: randomUUID() })}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}
