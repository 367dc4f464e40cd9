/** The settings of the provider door together: its keys, from the environment or from files, and which provider has which. */
import { resolve } from 'node:path';
import { parse } from 'yaml';
import type { ConfigIssue } from './issue.ts';
import { PROVIDER_SETTINGS } from './provider-settings.ts';
import { type RawSettings, type SettingName, type Values, describeSetting } from './settings.ts';

const SHORTEST_ACCESS_KEY = 32;
const OPENROUTER = new URL('https://openrouter.ai/api/v1');

/** The hosts whose keys have settings of their own, and which never answer without one. */
const KEY_SETTINGS = {
  'openrouter.ai': 'OPENROUTER_API_KEY',
  'api.openai.com': 'OPENAI_API_KEY',
  'api.anthropic.com': 'ANTHROPIC_API_KEY',
} as const satisfies Record<string, SettingName>;

export type ProviderConfig = ReturnType<typeof toProviderConfig>;

function toProviderConfig(values: Values, port: number, { urls, accessKeys, keys }: ProviderParts) {
  const prefixes = values.MODELGATE_PROVIDER_PREFIX;
  return {
    listen: { host: values.MODELGATE_PROVIDER_HOST, port },
    accessKeys,
    providers: urls.map((url) => ({ url, key: keys.get(url.host), prefix: prefixes?.get(url.host) })),
    user: {
      userIdHeader: values.FORWARD_USER_INFO_HEADER_USER_ID,
      tokenHeader: values.FORWARD_USER_INFO_HEADER_JWT,
      tokenSecret: values.FORWARD_USER_INFO_HEADER_JWT_SECRET,
    },
    chatHeader: values.FORWARD_SESSION_INFO_HEADER_CHAT_ID,
    authTypeHeader: values.FORWARD_USER_INFO_HEADER_AUTH_TYPE,
    /** What else the backend says of user and chat: it concerns no provider. */
    otherHeaders: [
      values.FORWARD_USER_INFO_HEADER_USER_NAME,
      values.FORWARD_USER_INFO_HEADER_USER_EMAIL,
      values.FORWARD_USER_INFO_HEADER_USER_ROLE,
      values.FORWARD_USER_INFO_HEADER_AUTH_TYPE,
      values.FORWARD_SESSION_INFO_HEADER_CHAT_ID,
      values.FORWARD_SESSION_INFO_HEADER_MESSAGE_ID,
    ],
    serviceModels: values.MODELGATE_PROVIDER_SERVICE_MODELS,
    unattributed: values.MODELGATE_PROVIDER_UNATTRIBUTED,
    extraPaths: values.MODELGATE_PROVIDER_EXTRA_PATHS ?? new Set<string>(),
    listCacheMs: values.MODELGATE_PROVIDER_LIST_CACHE,
    disconnect: values.MODELGATE_PROVIDER_DISCONNECT,
    /** Hosts, as `URL.host` has them. */
    noStreamOptions: values.MODELGATE_PROVIDER_NO_STREAM_OPTIONS ?? new Set<string>(),
    userField: values.MODELGATE_PROVIDER_USER_FIELD ?? (values.OPENROUTER_EXTERNAL_USER === undefined ? 'off' : 'user'),
  };
}

interface ProviderParts {
  readonly urls: readonly URL[];
  readonly accessKeys: readonly string[];
  /** By host, with its port where the address has one. */
  readonly keys: ReadonlyMap<string, string>;
}

interface Sources {
  readonly directory: string;
  /** @throws an error with a sentence as its message, where the file cannot be read */
  readonly readSecret: (path: string) => string;
}

/** What is the backend's own too says nothing where there is no provider door: the backend may take what is refused here. */
export const isUnused = (name: SettingName, settings: RawSettings): boolean =>
  !settings.has('MODELGATE_PROVIDER_PORT') && Object.hasOwn(PROVIDER_SETTINGS, name) && !name.startsWith('MODELGATE_');

/** @returns one issue for each of these settings that is there, where the provider door is not */
export const withoutEffect = (settings: RawSettings, names: readonly SettingName[]): readonly ConfigIssue[] =>
  names.flatMap((setting) => {
    const { source } = settings.get(setting) ?? {};
    const found = 'a value without effect, because MODELGATE_PROVIDER_PORT is not set';
    const expected = 'both, or neither of them';
    return source === undefined ? [] : [{ setting, source, found, expected, example: 'MODELGATE_PROVIDER_PORT=8081' }];
  });

/** Nothing is read where there is no provider door. No issue shows a key. */
export function readProvider(settings: RawSettings, values: Partial<Values>, sources: Sources) {
  const { MODELGATE_PROVIDER_PORT: port } = values;
  const issues: ConfigIssue[] = [];
  if (port === undefined) return { toConfig: () => undefined, issues };
  const read = (setting: SettingName): SecretFile | undefined => {
    const { text } = settings.get(setting) ?? {};
    if (text === undefined) return undefined;
    const path = resolve(sources.directory, text);
    try {
      return { path, content: sources.readSecret(path) };
    } catch (error) {
      const found = error instanceof Error ? error.message : 'a file that cannot be read';
      issues.push({ setting, found, expected: describeSetting(setting).expected });
      return undefined;
    }
  };
  const urls = providerUrls(settings, values);
  if (urls?.length === 0) issues.push(NO_PROVIDER);
  const hosts = [...new Set(urls?.map(({ host }) => host))];
  const keys = readKeys(settings, values, { hosts, file: read(KEYS_FILE) }, issues);
  const accessKeys = readAccessKeys(settings, values, read, issues);
  // The backend's own OPENAI_API_KEY may be the access key: only the key of a provider of this door is one that is sent
  issues.push(...hosts.filter((host) => accessKeys.includes(keys.get(host) ?? '')).map(sharedKey));
  return { toConfig: (whole: Values) => toProviderConfig(whole, port, { urls: urls ?? [], accessKeys, keys }), issues };
}

interface SecretFile {
  readonly path: string;
  readonly content: string;
}

/** @returns undefined where the setting cannot be read */
export function providerUrls(settings: RawSettings, values: Partial<Values>): readonly URL[] | undefined {
  if (settings.has('MODELGATE_PROVIDERS')) return values.MODELGATE_PROVIDERS;
  return settings.has('OPENROUTER_API_KEY') ? [OPENROUTER] : [];
}

const KEYS_FILE = 'MODELGATE_PROVIDER_KEYS_FILE';
/** What a header can carry. */
const CARRIED = /^[!-~]+$/;

/** A line of the file wins over a setting: `OPENAI_API_KEY` is the backend's own too, which then holds the access key. */
function readKeys(
  settings: RawSettings,
  values: Partial<Values>,
  { hosts, file }: { readonly hosts: readonly string[]; readonly file: SecretFile | undefined },
  issues: ConfigIssue[],
): Map<string, string> {
  const ofSettings = Object.entries(KEY_SETTINGS).flatMap(([host, name]) => {
    const key = values[name]?.trim();
    return key === undefined ? [] : [[host, key] as const];
  });
  const ofFile = file === undefined ? [] : readMapping(file, hosts, issues);
  const keys = new Map([...ofSettings, ...ofFile]);
  for (const [host, name] of Object.entries(KEY_SETTINGS)) {
    if (hosts.includes(host) && !keys.has(host) && !settings.has(name)) issues.push(missingKey(host, name));
  }
  for (const [host, key] of keys) {
    const isOfFile = ofFile.some(([other]) => other === host);
    if (hosts.includes(host) && !CARRIED.test(key)) issues.push(unusableKey(host, isOfFile));
  }
  return keys;
}

/** Says which entry is wrong and shows neither of its parts: host and key may stand in each other's place. */
function readMapping(
  { path, content }: SecretFile,
  hosts: readonly string[],
  issues: ConfigIssue[],
): (readonly [host: string, key: string])[] {
  const entries = Object.entries(parseMapping(content) ?? { '': undefined });
  const pairs = entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1] !== '');
  if (pairs.length < entries.length || pairs.some(([host]) => host === '')) {
    const found = `${JSON.stringify(path)}, which is not one \`HOST: KEY\` a line`;
    issues.push({ setting: KEYS_FILE, found, expected: 'the host of a provider and its key in each line', example });
    return [];
  }
  const wrong = pairs.findIndex(([host]) => !hosts.includes(host));
  if (wrong !== -1 && hosts.length > 0) {
    const found = `${JSON.stringify(path)}, whose entry ${wrong + 1} is for a host that is none of MODELGATE_PROVIDERS`;
    issues.push({ setting: KEYS_FILE, found, expected: `a key for ${hosts.join(', ')}`, example });
  }
  return pairs;
}

const example = 'api.groq.com: gsk_…';

function parseMapping(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = parse(text, { schema: 'failsafe', prettyErrors: false, logLevel: 'error' });
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    // The parser quotes what it could not read, and that may be a key
    return undefined;
  }
}

function readAccessKeys(
  settings: RawSettings,
  values: Partial<Values>,
  read: (setting: SettingName) => SecretFile | undefined,
  issues: ConfigIssue[],
): readonly string[] {
  const setting = 'MODELGATE_PROVIDER_ACCESS_KEY';
  const names = [setting, `${setting}_FILE`] as const;
  const [used, other] = names.filter((name) => settings.has(name));
  const { expected } = describeSetting(setting);
  const refuse = (found: string, wanted = expected) => {
    issues.push({ setting: used ?? setting, found, expected: wanted, example: `${names[1]}=${ACCESS_KEY_FILE}` });
    return [];
  };
  if (used === undefined) return refuse('nothing, beside MODELGATE_PROVIDER_PORT');
  if (other !== undefined) return refuse(`${names.join(' and ')} together`, 'one of them');
  const file = used === setting ? undefined : read(used);
  const text = used === setting ? values[used] : file?.content;
  if (text === undefined) return [];
  const keys = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const fault = faultOf(keys);
  if (fault !== undefined) return refuse(file === undefined ? fault : `${JSON.stringify(file.path)}, with ${fault}`);
  return keys;
}

const ACCESS_KEY_FILE = '/run/secrets/modelgate_access_key';

function faultOf(keys: readonly string[]): string | undefined {
  if (keys.length === 0) return 'no key in it';
  if (keys.some((key) => !CARRIED.test(key))) return 'a key with a space or a letter that is not ASCII';
  return keys.some((key) => key.length < SHORTEST_ACCESS_KEY) ? 'a key that is too short' : undefined;
}

const sharedKey = (host: string): ConfigIssue => ({
  setting: 'MODELGATE_PROVIDER_ACCESS_KEY',
  found: `the key of ${host}, with which the backend could go past this door`,
  expected: `a key of its own (that of a provider whose variable the backend uses too may stand in ${KEYS_FILE})`,
  example: 'openssl rand -hex 32',
});

const missingKey = (host: string, setting: SettingName): ConfigIssue => ({
  setting,
  found: `nothing, beside ${host} in MODELGATE_PROVIDERS`,
  expected: `${describeSetting(setting).expected}, here or in ${KEYS_FILE}`,
});

const unusableKey = (host: string, isOfFile: boolean): ConfigIssue => ({
  setting: Object.entries(KEY_SETTINGS).find(([known]) => known === host && !isOfFile)?.[1] ?? KEYS_FILE,
  found: `a key of ${host} with a space or a letter that is not ASCII`,
  expected: 'the key as the provider has given it',
});

const NO_PROVIDER: ConfigIssue = {
  setting: 'MODELGATE_PROVIDERS',
  found: 'nothing, beside MODELGATE_PROVIDER_PORT',
  expected: 'the base URLs of the providers that the door leads to',
  example: 'MODELGATE_PROVIDERS=https://openrouter.ai/api/v1',
};
