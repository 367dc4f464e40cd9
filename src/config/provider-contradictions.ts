/** Settings of the provider door that contradict each other, or have no effect. */
import { isOwnAddress, meet } from './contradictions.ts';
import { type ConfigIssue, quote } from './issue.ts';
import { providerUrls, withoutEffect } from './provider.ts';
import { type RawSettings, type Values, SETTING_NAMES, describeSetting } from './settings.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What the backend has too (`OPENAI_API_KEY`, `FORWARD_…`) may stand where there is no door: one `.env` serves both. */
export function providerContradictions(
  settings: RawSettings,
  values: Partial<Values>,
  environment: Environment,
): readonly ConfigIssue[] {
  if (!settings.has('MODELGATE_PROVIDER_PORT')) {
    const names = SETTING_NAMES.filter((name) => name.startsWith('MODELGATE_PROVIDER'));
    return withoutEffect(settings, names);
  }
  const urls = providerUrls(settings, values) ?? [];
  return [
    ...takenPorts(values),
    ...ownAddresses(values, urls),
    ...sameBases(urls),
    ...unknownHosts(values, urls),
    ...takenHeaders(settings, values),
    ...withoutUser(environment),
  ];
}

const listenersOf = (values: Partial<Values>) =>
  [
    { setting: 'MODELGATE_PORT', host: values.MODELGATE_HOST, port: values.MODELGATE_PORT },
    { setting: 'MODELGATE_ADMIN_PORT', host: values.MODELGATE_ADMIN_HOST, port: values.MODELGATE_ADMIN_PORT },
    { setting: 'MODELGATE_PROVIDER_PORT', host: values.MODELGATE_PROVIDER_HOST, port: values.MODELGATE_PROVIDER_PORT },
  ].flatMap(({ setting, host, port }) => (host === undefined || !port ? [] : [{ setting, host, port }]));

function takenPorts(values: Partial<Values>): readonly ConfigIssue[] {
  const listeners = listenersOf(values);
  const door = listeners.find(({ setting }) => setting === 'MODELGATE_PROVIDER_PORT');
  if (door === undefined) return [];
  return listeners
    .filter(({ setting, host, port }) => setting !== door.setting && port === door.port && meet(host, door.host))
    .map(({ setting, port }) => ({
      setting: door.setting,
      found: `${port}, which is ${setting} too`,
      expected: 'a port of its own for the provider door',
      example: `MODELGATE_PROVIDER_PORT=${port === 8081 ? 8082 : 8081}`,
    }));
}

function ownAddresses(values: Partial<Values>, urls: readonly URL[]): readonly ConfigIssue[] {
  const listeners = listenersOf(values);
  const { MODELGATE_UPSTREAM_URL: upstream } = values;
  const looping = urls.flatMap((url) => {
    const own = listeners.find(({ host, port }) => isOwnAddress(url, host, port));
    return own === undefined
      ? []
      : [{ setting: 'MODELGATE_PROVIDERS', url, own, expected: 'the providers themselves' }];
  });
  const door = listeners.find(({ setting }) => setting === 'MODELGATE_PROVIDER_PORT');
  if (upstream !== undefined && door !== undefined && isOwnAddress(upstream, door.host, door.port)) {
    const expected = 'the address of Open WebUI';
    looping.push({ setting: 'MODELGATE_UPSTREAM_URL', url: upstream, own: door, expected });
  }
  return looping.map(({ setting, url, own, expected }) => ({
    setting,
    found: `${quote(url.origin)}, where the gate itself listens (${own.setting} ${own.port})`,
    expected,
  }));
}

/** The scheme is no part of the address that the backend has. */
function sameBases(urls: readonly URL[]): readonly ConfigIssue[] {
  const bases = Map.groupBy(urls, ({ host, pathname }) => `${host}${pathname.replace(/\/+$/, '')}`);
  return [...bases]
    .filter(([, same]) => same.length > 1)
    .map(([base, same]) => ({
      setting: 'MODELGATE_PROVIDERS',
      found: `${quote(base)} ${same.length === 2 ? 'twice' : `${same.length} times`}`,
      expected: 'each address once, whatever its scheme',
    }));
}

function unknownHosts(values: Partial<Values>, urls: readonly URL[]): readonly ConfigIssue[] {
  const named = [
    ['MODELGATE_PROVIDER_PREFIX', [...(values.MODELGATE_PROVIDER_PREFIX?.keys() ?? [])], '=or'],
    ['MODELGATE_PROVIDER_NO_STREAM_OPTIONS', [...(values.MODELGATE_PROVIDER_NO_STREAM_OPTIONS ?? [])], ''],
  ] as const;
  if (urls.length === 0) return [];
  return named.flatMap(([setting, hosts, ending]) =>
    hosts
      .filter((host) => !urls.some((url) => url.host === host))
      .map((host) => ({
        setting,
        found: `${quote(host)}, which is the host of no provider`,
        expected: `one of ${[...new Set(urls.map((url) => url.host))].join(', ')}`,
        example: `${setting}=${urls[0]?.host}${ending}`,
      })),
  );
}

const HEADERS = [
  'FORWARD_USER_INFO_HEADER_USER_ID',
  'FORWARD_USER_INFO_HEADER_JWT',
  'FORWARD_SESSION_INFO_HEADER_CHAT_ID',
  'FORWARD_USER_INFO_HEADER_AUTH_TYPE',
  'FORWARD_USER_INFO_HEADER_USER_NAME',
  'FORWARD_USER_INFO_HEADER_USER_EMAIL',
  'FORWARD_USER_INFO_HEADER_USER_ROLE',
  'FORWARD_SESSION_INFO_HEADER_MESSAGE_ID',
] as const;

/** Where the access key stands, and the model that the backend was asked for. */
const TAKEN: readonly string[] = ['api-key', 'x-api-key', 'x-modelgate-model'];

const takenHeaders = (settings: RawSettings, values: Partial<Values>): readonly ConfigIssue[] =>
  HEADERS.flatMap((setting, place) => {
    const { [setting]: own = '' } = values;
    const isTaken = TAKEN.includes(own) || HEADERS.slice(0, place).some((other) => values[other] === own);
    if (own === '' || !isTaken) return [];
    const { source } = settings.get(setting) ?? {};
    const found = `${quote(own)}, a header that has another meaning here`;
    const expected = 'a header of its own, by the same name in the backend';
    const example = `${setting}=${describeSetting(setting).example}`;
    return [{ setting, found, expected, example, ...(source !== undefined && { source }) }];
  });

/** As the backend reads it: `env.py`, `.lower() == 'true'`. */
const withoutUser = ({ ENABLE_FORWARD_USER_INFO_HEADERS: text = '' }: Environment): readonly ConfigIssue[] =>
  text === '' || text.toLowerCase() === 'true'
    ? []
    : [
        {
          setting: 'ENABLE_FORWARD_USER_INFO_HEADERS',
          source: 'environment',
          found: `${quote(text)} beside MODELGATE_PROVIDER_PORT: the backend then names no user, and every call is refused`,
          expected: '`true`, for the backend too',
          example: 'ENABLE_FORWARD_USER_INFO_HEADERS=true',
        },
      ];
