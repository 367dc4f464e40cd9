/** Where limits are counted when there are several gates. What the backend has too has its name. */
import { z } from 'zod';
import { setting, settingWithDefault } from './row.ts';
import * as value from './value.ts';
import { reasonWhere, string } from './value.ts';

/** What the backend's library takes in the query of the URL, and this one too. */
const QUERY: Readonly<Record<string, RegExp>> = {
  db: /^\d{1,4}$/,
  ssl_cert_reqs: /^(?:none|optional|required)$/,
  ssl_check_hostname: /^(?:true|false)$/i,
};

/** @returns what of it a client needs; a database in the query wins over that of the path, as in redis-py */
const redisUrl = string
  .refine(
    (typed) => /^rediss?:\/\//i.test(typed),
    reasonWhere([/^rediss?:/i, 'no `//` follows its scheme'], [/./, 'its scheme is neither redis nor rediss']),
  )
  .refine((typed) => URL.canParse(typed) && isDecodable(new URL(typed)), 'it is not a URL')
  .transform((typed) => new URL(typed))
  .refine(({ pathname }) => /^\/?\d{0,4}$/.test(pathname), 'what stands behind its host is no number of a database')
  .refine(({ hash }) => hash === '', 'it has a part behind #: write %23 for a # in a password')
  .transform((url, context) => {
    const options = [...url.searchParams];
    const unknown = options.find(([name, text]) => QUERY[name]?.test(text) !== true);
    if (unknown !== undefined) {
      context.addIssue(`\`${unknown[0].slice(0, 40)}\` in its query is not known here, or has another value`);
      return z.NEVER;
    }
    const { protocol, hostname, port, username, password, pathname, searchParams } = url;
    return Object.freeze({
      /** In the letter case that was typed: for Sentinel it is the name of a master. IPv6 without brackets. */
      host: decodeURIComponent(hostname).replace(/^\[|\]$/g, ''),
      port: port === '' ? 6379 : Number(port),
      username: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: Number(searchParams.get('db') ?? pathname.slice(1)),
      tls: protocol.toLowerCase() === 'rediss:',
      certificate: searchParams.get('ssl_cert_reqs') !== 'none',
      /** With the password in it as it was typed: what no log may show. */
      secrets: [password, decodeURIComponent(password)].filter((text) => text !== ''),
    });
  })
  .describe('`redis://` or `rediss://` with host and port, or `off`');

function isDecodable({ hostname, username, password }: URL): boolean {
  try {
    return [hostname, username, password].map(decodeURIComponent).length > 0;
  } catch {
    return false;
  }
}

/** As the backend reads it: hosts alone, one port for all of them. */
const sentinelHosts = string
  .transform((typed): readonly string[] =>
    typed
      .split(',')
      .map((host) => host.trim())
      .filter((host) => host !== ''),
  )
  .refine((hosts) => hosts.length > 0, 'there is no host in it')
  .refine(
    (hosts) => hosts.every((host) => value.host.safeParse(host).success),
    'one of them is no host name or address',
  )
  .describe('host names or addresses separated by commas, without ports');

const keyPrefix = string
  .regex(/^[\w.:-]{1,64}$/, reasonWhere([/[{}]/, 'braces have a meaning in the names of keys']))
  .describe('1 to 64 letters, digits, or `_ . : -`');

/** The backend's own is read as far as it goes where it is not the one that counts. */
export const REDIS_SETTINGS = {
  MODELGATE_REDIS_URL: setting(
    z
      .union([z.literal('off'), redisUrl], value.lastReason)
      .describe('`redis://` or `rediss://` with host and port, or `off`'),
    'redis://redis:6379/0',
    true,
  ),
  REDIS_URL: setting(redisUrl, 'redis://redis:6379/0', true),
  REDIS_CLUSTER: settingWithDefault(value.boolean, 'false'),
  REDIS_SENTINEL_HOSTS: setting(sentinelHosts, 'sentinel-1,sentinel-2,sentinel-3'),
  REDIS_SENTINEL_PORT: settingWithDefault(value.port, '26379'),
  REDIS_KEY_PREFIX: settingWithDefault(string.describe('the beginning of the names of keys'), 'open-webui'),
  MODELGATE_REDIS_KEY_PREFIX: settingWithDefault(keyPrefix, 'modelgate'),
  MODELGATE_LIMITS_WITHOUT_REDIS: settingWithDefault(value.word('local', 'refuse', 'open'), 'local'),
} as const;

/** What each means. */
export const REDIS_MEANINGS = {
  MODELGATE_REDIS_URL:
    "Redis (6.2 or later) or Valkey in which several gates count their limits together. `rediss://` is TLS. Not set: the backend's `REDIS_URL`; none of the two, or `off`: each gate counts for itself.",
  REDIS_URL:
    "The backend's own setting: limits are counted there where `MODELGATE_REDIS_URL` is not set, and the sessions that the backend has ended are known from there. With Sentinel its host is the name of the master.",
  REDIS_CLUSTER: "The backend's own setting: `true` where the URL leads to a Redis Cluster.",
  REDIS_SENTINEL_HOSTS:
    "The backend's own setting: Sentinels that know the master. User and password of the URL are for them too.",
  REDIS_SENTINEL_PORT: "The backend's own setting: port of all of them.",
  REDIS_KEY_PREFIX:
    "The backend's own setting: what its keys in `REDIS_URL` begin with. There it says which sessions have been signed out.",
  MODELGATE_REDIS_KEY_PREFIX:
    'What the names of all keys begin with, in braces: gates of one backend have the same, those of another a different one.',
  MODELGATE_LIMITS_WITHOUT_REDIS:
    'While Redis does not answer: `local`, each gate counts its share, which is the limit divided by the number of gates; `refuse` answers 503 to what a limit counts; `open` limits nothing.',
};
