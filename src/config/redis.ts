/** Which Redis counts the limits, and how it is reached; undefined where each gate counts for itself. */
import { isDeepStrictEqual } from 'node:util';
import type { ConfigIssue } from './issue.ts';
import { REDIS_SETTINGS } from './redis-settings.ts';
import type { RawSettings, SettingName, Values } from './settings.ts';

type RedisUrl = NonNullable<Values['REDIS_URL']>;
export type RedisConfig = NonNullable<ReturnType<typeof toRedis>>;

/** @returns undefined where no Redis is set, or it is switched off */
export function toRedis(values: Values) {
  const { MODELGATE_REDIS_URL: url = values.REDIS_URL } = values;
  return url === undefined || url === 'off' ? undefined : reachedBy(url, values);
}

/**
 * Where the backend says which sessions it has ended: `elsewhere` is its Redis where limits are counted in another.
 * @returns undefined where that is not known, or Redis is switched off
 */
export function toRevocations(values: Values) {
  const { MODELGATE_REDIS_URL: own, REDIS_URL: url, REDIS_KEY_PREFIX: keyPrefix } = values;
  if (url === undefined || own === 'off') return undefined;
  return {
    keyPrefix,
    elsewhere: own === undefined || isDeepStrictEqual(own, url) ? undefined : reachedBy(url, values),
  };
}

function reachedBy(url: RedisUrl, values: Values) {
  const { REDIS_SENTINEL_HOSTS: sentinels, REDIS_SENTINEL_PORT: port } = values;
  return {
    ...url,
    /** Sentinel wins where both are set, as in the backend. */
    kind: sentinels !== undefined ? 'sentinel' : values.REDIS_CLUSTER ? 'cluster' : 'single',
    sentinels: (sentinels ?? []).map((host) => ({ host, port })),
    keyPrefix: values.MODELGATE_REDIS_KEY_PREFIX,
    without: values.MODELGATE_LIMITS_WITHOUT_REDIS,
  } as const;
}

/** What the backend has too does no harm where limits are counted elsewhere: one `.env` serves both. */
export const isUnusedRedis = (name: SettingName, settings: RawSettings): boolean =>
  (name === 'REDIS_URL' && settings.has('MODELGATE_REDIS_URL') && !isReadable(settings.get(name)?.text)) ||
  (/^REDIS_(?:CLUSTER|SENTINEL|KEY_PREFIX)/.test(name) && !hasRedis(settings));

const isReadable = (url: string | undefined): boolean => REDIS_SETTINGS.REDIS_URL.schema.safeParse(url).success;

const hasRedis = (settings: RawSettings): boolean =>
  settings.get('MODELGATE_REDIS_URL')?.text !== 'off' &&
  (settings.has('MODELGATE_REDIS_URL') || settings.has('REDIS_URL'));

export function redisContradictions(settings: RawSettings, values: Partial<Values>): readonly ConfigIssue[] {
  if (hasRedis(settings)) return [...withoutHost(settings, values), ...ofCluster(settings, values)];
  const isOff = settings.get('MODELGATE_REDIS_URL')?.text === 'off';
  const because = isOff ? 'MODELGATE_REDIS_URL is off' : 'neither MODELGATE_REDIS_URL nor REDIS_URL is set';
  return (['MODELGATE_REDIS_KEY_PREFIX', 'MODELGATE_LIMITS_WITHOUT_REDIS'] as const).flatMap((setting) => {
    const { source } = settings.get(setting) ?? {};
    const found = `a value without effect, because ${because}`;
    return source === undefined
      ? []
      : [{ setting, source, found, expected: 'both, or neither of them', example: EXAMPLE }];
  });
}

const EXAMPLE = 'MODELGATE_REDIS_URL=redis://redis:6379/0';

const usedUrl = (settings: RawSettings, values: Partial<Values>) => {
  const setting = settings.has('MODELGATE_REDIS_URL') ? 'MODELGATE_REDIS_URL' : 'REDIS_URL';
  const { [setting]: url } = values;
  return { setting, source: settings.get(setting)?.source ?? 'environment', url: url === 'off' ? undefined : url };
};

function withoutHost(settings: RawSettings, values: Partial<Values>): readonly ConfigIssue[] {
  const { setting, source, url } = usedUrl(settings, values);
  if (url === undefined || url.host !== '') return [];
  const isSentinel = values.REDIS_SENTINEL_HOSTS !== undefined;
  const expected = isSentinel ? 'the name of the master as the host, as Sentinel has it' : 'the host of Redis';
  const example = isSentinel ? `${setting}=redis://mymaster:6379/0` : `${setting}=redis://redis:6379/0`;
  return [{ setting, source, found: 'a URL without a host', expected, example }];
}

/** A cluster has one. */
function ofCluster(settings: RawSettings, values: Partial<Values>): readonly ConfigIssue[] {
  const { setting, source, url } = usedUrl(settings, values);
  const isCluster = values.REDIS_CLUSTER === true && values.REDIS_SENTINEL_HOSTS === undefined;
  if (url === undefined || url.database === 0 || !isCluster) return [];
  const found = `database ${url.database} beside REDIS_CLUSTER=true: a cluster has database 0 alone`;
  return [
    { setting, source, found, expected: 'no number of a database, or 0', example: `${setting}=redis://redis:6379` },
  ];
}
