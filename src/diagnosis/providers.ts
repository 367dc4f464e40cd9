/** Whether everything that the backend asks of its providers goes through the provider door, and in whose name. */
import { quoted, quotedFew } from '../backend-file/text.ts';
import { type ModelId, compileGrants, coveringGrant } from '../policy/grant.ts';
import { toOrganizationId } from '../policy/principal.ts';
import { isObject } from '../references/json.ts';
import { type BackendRelease, isOlder } from '../store/backend-releases.ts';
import type { Connection } from '../store/database.ts';
import { prepareProviderSettings } from '../store/provider-settings.ts';
import { DEFAULT_ARENA, prepareSettings, textsOf } from '../store/models.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { type Verdict, type Verdicts, ok, problem, unknown, warning } from './finding.ts';
import { nameOfRelease } from './journal.ts';
import { checkOrganizationKeys } from './organization-keys.ts';

/** What of the configuration of the door these checks look at. */
export interface ProviderDoor {
  readonly listen: { readonly port: number };
  readonly providers: readonly { readonly url: URL; readonly prefix?: string | undefined }[];
  readonly user: { readonly tokenSecret: string | undefined };
  readonly accessKeys: readonly string[];
  /** `auto`: what the backend's settings name. */
  readonly serviceModels: 'auto' | ReadonlySet<string>;
  /** `refuse`, or an organization. */
  readonly unattributed: string;
}

type Settings = ReturnType<ReturnType<typeof prepareProviderSettings>>;

/** @returns each check by its name */
export function providerChecks(connection: Connection, schema: Schema, release: BackendRelease, door: ProviderDoor) {
  const read = prepareProviderSettings(connection, schema);
  return {
    connections: () => checkConnections(read(), door),
    'signed users': () => checkSigning(release, door),
    'organization keys': () => checkOrganizationKeys(connection, schema, door),
    arenas: () => checkArenas(connection, schema),
    'service models': () => [checkServiceModels(read(), door), ...checkUnattributed(connection, schema, door)],
    environment: () => checkEnvironment(read(), door),
  } satisfies Record<string, () => Verdicts>;
}

/**
 * The variable behind each setting, and where its page is in the admin panel (0.6.18 and 0.12.4). The variable counts at
 * the backend's first start, and as long as its database has no such setting.
 */
const SETTINGS: readonly (readonly [setting: RegExp, variable: string, page: string])[] = [
  [/^openai\.api_base_urls/, 'OPENAI_API_BASE_URLS', 'Connections'],
  [/^ollama\.base_urls/, 'OLLAMA_BASE_URLS', 'Connections'],
  [/^rag\.openai/, 'RAG_OPENAI_API_BASE_URL', 'Documents'],
  [/^rag\.azure_openai/, 'RAG_AZURE_OPENAI_BASE_URL', 'Documents'],
  [/^rag\.ollama/, 'RAG_OLLAMA_BASE_URL', 'Documents'],
  [/^rag\.external_reranker/, 'RAG_EXTERNAL_RERANKER_URL', 'Documents'],
  [/^audio\.stt/, 'AUDIO_STT_OPENAI_API_BASE_URL', 'Audio'],
  [/^audio\.tts/, 'AUDIO_TTS_OPENAI_API_BASE_URL', 'Audio'],
  [/^image_generation/, 'IMAGES_OPENAI_API_BASE_URL', 'Images'],
  [/^images\.edit/, 'IMAGES_EDIT_OPENAI_API_BASE_URL', 'Images'],
];

const REALTIME = 'audio.realtime.openai.api_base_url';

/** Each connection that is in use; what cannot be read as an address reaches no provider. */
function checkConnections({ connections }: Settings, door: ProviderDoor): readonly Verdict[] {
  const used = connections.flatMap(({ setting, url: text, isUsed }) => {
    const url = isUsed ? URL.parse(text) : null;
    return url === null ? [] : [{ setting, url }];
  });
  const isThrough = ({ pathname }: URL): boolean =>
    door.providers.some(({ url }) => isBelow(pathname, `/${url.host}${baseOf(url)}`));
  const through = used.filter(({ url }) => isThrough(url));
  const [origin = `http://modelgate:${door.listen.port}`, ...more] = through.map(({ url }) => url.origin);
  const found = used.flatMap(({ setting, url }) => {
    if (setting === REALTIME) return [NO_REALTIME];
    if (isThrough(url)) return [];
    // a port of another container may be the same: the path of a provider's own address begins with no host
    const isAtDoor = [origin, ...more].includes(url.origin) || url.port === String(door.listen.port);
    return [
      isAtDoor && HOST_FIRST.test(url.pathname) ? unknownProvider(setting, url) : past(setting, url, origin, door),
    ];
  });
  if (found.length > 0) return found;
  if (used.length === 0) return [ok("The backend's database names no connection to a provider.")];
  const settings = used.map(({ setting }) => setting).join(', ');
  return [ok(`Every connection that the backend's database names goes through the door: ${settings}.`)];
}

const HOST_FIRST = /^\/[^/]*[.:]/;

const isBelow = (path: string, base: string): boolean => path === base || path.startsWith(`${base}/`);
const baseOf = ({ pathname }: URL): string => pathname.replace(/\/+$/, '');

function past(setting: string, url: URL, origin: string, door: ProviderDoor): Verdict {
  const [, variable, page] = SETTINGS.find(([pattern]) => pattern.test(setting)) ?? [];
  // never with the user and password that an address may hold
  const address = `${url.protocol}//${url.host}${baseOf(url)}`;
  const isKnown = door.providers.some((one) => one.url.host === url.host && isBelow(baseOf(url), baseOf(one.url)));
  // what the backend finds on its own machine, the gate does not
  const isLocal = !isKnown && /^(?:localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname);
  const provider = isLocal ? 'the provider, by a name that the gate can reach,' : shown(address);
  const first = isKnown
    ? ''
    : `Switch it off if it is not needed. Else add ${provider} to MODELGATE_PROVIDERS, and its key to MODELGATE_PROVIDER_KEYS_FILE. `;
  const value = `${origin}/${isLocal ? url.host.replace(url.hostname, 'NAME') : url.host}${baseOf(url)}`;
  return problem(
    `${setting} is ${shown(address)}, which does not go through the provider door.`,
    `${first}Set the URL to ${shown(value)} and its key to the access key: Admin Panel, Settings, ${page}. ${variable} counts at the backend's first start only.`,
  );
}

function unknownProvider(setting: string, url: URL): Verdict {
  const provider = shown(url.pathname.slice(1));
  return problem(
    `${setting} leads through the provider door to ${provider}, which is below no address of MODELGATE_PROVIDERS: every call is refused.`,
    'Add the address of that provider to MODELGATE_PROVIDERS, and its key to MODELGATE_PROVIDER_KEYS_FILE.',
  );
}

const NO_REALTIME = problem(
  'audio.realtime.enabled is true, and the provider door has no realtime calls: they pass it by, or fail.',
  "Switch them off: Admin Panel, Settings, Audio. AUDIO_REALTIME_ENABLED counts at the backend's first start only.",
);

/** As it is typed where nothing in it needs quotes. */
const shown = (address: string): string => (/^[\w.:/[\]~-]{1,200}$/.test(address) ? address : quoted(address));

const SECRET = 'FORWARD_USER_INFO_HEADER_JWT_SECRET';
/** `utils/headers.py` `_mint_forward_user_jwt`. */
const FIRST_THAT_SIGNS = '0.9.6';

function checkSigning(release: BackendRelease, { user }: ProviderDoor): Verdict {
  const isSet = user.tokenSecret !== undefined;
  if (release.kind !== 'known') {
    const alone = `Whether the backend can sign the users of its calls (from ${FIRST_THAT_SIGNS}) is not known`;
    return isSet ? ok(`${alone}; only signed ones count here.`) : unknown(`${alone}; ${SECRET} is not set.`);
  }
  const name = nameOfRelease(release);
  const signs = !isOlder(release.since, FIRST_THAT_SIGNS);
  const cannot = release.before !== undefined && !isOlder(FIRST_THAT_SIGNS, release.before);
  if (isSet && cannot) {
    return problem(
      `${SECRET} is set, so that only signed users count, and ${name} signs none: every call for a user is refused.`,
      `Take ${SECRET} out, or upgrade the backend to ${FIRST_THAT_SIGNS} or newer.`,
    );
  }
  if (isSet) return ok('The users of the calls count only where the backend has signed them.');
  if (!signs) return ok(`The users of the calls are not signed, which ${name} cannot do.`);
  return warning(
    `The users of the calls are not signed, which ${name} can do: what holds the access key may name any user.`,
    `Give the backend and the gate one ${SECRET} (openssl rand -hex 32), and restart both.`,
  );
}

const SHOWN = 10;

function checkServiceModels({ serviceModels: named }: Settings, { serviceModels: set }: ProviderDoor): Verdict {
  const models = [...new Set(set === 'auto' ? [...named.listed, ...named.sent] : set)];
  const who = 'every user of an organization may reach them through the backend';
  if (models.length > 0) {
    const how = set === 'auto' ? 'The settings of the backend name' : 'MODELGATE_PROVIDER_SERVICE_MODELS names';
    return ok(`${how} ${quotedFew(models, SHOWN)}: ${who}.`);
  }
  return ok(
    "The backend's database names none: tasks and embeddings need a grant as every call does. What its environment names (TASK_MODEL_EXTERNAL, RAG_EMBEDDING_MODEL) can stand in MODELGATE_PROVIDER_SERVICE_MODELS.",
  );
}

/** With a misspelled id, calls without a user would be counted for an organization that is not there. */
function checkUnattributed(connection: Connection, schema: Schema, { unattributed }: ProviderDoor): readonly Verdict[] {
  if (unattributed === 'refuse' || schema.problem !== undefined) return [];
  const tables = ['organization_members', 'organization_models'];
  const isThere = tables.some((table) =>
    connection.prepare(`SELECT 1 FROM ${table} WHERE organization_id = ? LIMIT 1`).get(unattributed),
  );
  if (isThere) return [];
  return [
    warning(
      `MODELGATE_PROVIDER_UNATTRIBUTED is ${quoted(unattributed)}, an organization without members and models.`,
      'Look whether the id is misspelt: `modelgate org list`',
    ),
  ];
}

/** Addresses of these are empty until they are set. */
const EMPTY_BY_DEFAULT = /AZURE|RERANKER|EDIT|RAG_OLLAMA/;

/** Said once, and not for each: none of it can be seen from here. */
function checkEnvironment({ named }: Settings, { user }: ProviderDoor): Verdict {
  const unnamed = SETTINGS.filter(([pattern]) => !named.some((setting) => pattern.test(setting)));
  const variables = unnamed.map(([, variable]) => variable).filter((variable) => !EMPTY_BY_DEFAULT.test(variable));
  const needed = [
    'ENABLE_FORWARD_USER_INFO_HEADERS=true',
    ...(user.tokenSecret === undefined ? [] : [`${SECRET} as it is here`]),
    "the gate's name in NO_PROXY where it has an HTTP_PROXY",
    'no ENABLE_PERSISTENT_CONFIG=false, with which its database does not count',
    ...(variables.length === 0 ? [] : [`an address of the door in ${variables.join(', ')}, as far as these are used`]),
  ];
  return unknown(
    `The backend's environment cannot be seen from here. It needs: ${needed.join('; ')}.`,
    "Look at the variables of the backend's container.",
  );
}

/** What the backend picks for an arena is judged as that model: its answer is a refusal where the member is not granted. */
function checkArenas(connection: Connection, schema: Schema): readonly Verdict[] {
  if (schema.problem !== undefined) return [];
  const stored = prepareSettings(connection, schema)('evaluation.arena.models');
  const arenas = (Array.isArray(stored) && stored.length > 0 ? stored : [{ id: DEFAULT_ARENA }]).filter(isObject);
  const baseOf = connection.prepare<[string], string | null>('SELECT base_model_id FROM model WHERE id = ?').pluck();
  const found = arenas.flatMap(({ id, meta }) => {
    const { model_ids: listed, filter_mode: mode } = isObject(meta) ? meta : {};
    const members = mode === 'exclude' ? [] : textsOf(listed);
    return grantedBy(connection, schema, String(id)).flatMap(({ organization, covers }) => {
      const arena = `The arena ${quoted(String(id))}, granted to ${organization},`;
      if (members.length === 0) return [warning(`${arena} picks among all models of the backend.`, ARENA_REMEDY)];
      const missing = members.filter((member) => !covers(member) && !covers(baseOf.get(member) ?? ''));
      return missing.length === 0
        ? []
        : [warning(`${arena} picks models that are not: ${quotedFew(missing, SHOWN)}.`, ARENA_REMEDY)];
    });
  });
  return found.length > 0 ? found : [ok('Each arena that is granted picks only models that are granted beside it.')];
}

const ARENA_REMEDY =
  'The provider door refuses a pick that is not granted. Name the members of the arena in the backend, and grant each: `modelgate model allow ID --org ORGANIZATION`';

/** @returns the organizations that grant it by its own id, each with what else it grants */
function grantedBy(connection: Connection, { grantActive }: Schema, id: string) {
  const active = activeCondition(grantActive);
  const column = (sql: string, value: string) => connection.prepare<[string], string>(sql).pluck().all(value);
  const organizations = column(
    `SELECT DISTINCT organization_id FROM organization_models WHERE model_id = ? AND ${active} ORDER BY 1`,
    id,
  );
  return organizations.map((organization) => {
    const sql = `SELECT model_id FROM organization_models WHERE organization_id = ? AND ${active} AND typeof(model_id) = 'text'`;
    const grants = compileGrants(toOrganizationId(organization), column(sql, organization));
    return { organization, covers: (model: string) => coveringGrant(grants, model as ModelId) !== undefined };
  });
}
