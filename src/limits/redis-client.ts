/** How Redis is reached: alone, behind Sentinels, or as a cluster. Nothing is queued, nothing is sent twice. */
import { type RedisOptions, Cluster, Redis } from 'ioredis';
import type { RedisConfig } from '../config/redis.ts';
import type { RedisClient } from './redis-scripts.ts';

const CONNECT_MS = 500;
/** A socket that says nothing for so long is dropped: what it was sent is not waited for. */
const SILENCE_MS = 1_000;
const RECONNECT_MS = 500;

const reconnectAfter = (attempt: number): number => Math.min(attempt * 50, RECONNECT_MS);

/** The client reconnects by itself, for ever. @param noteError hears of each failure to connect */
export function connectRedis(config: RedisConfig, noteError: (error: Error) => void): RedisClient {
  const client = config.kind === 'cluster' ? clusterOf(config) : new Redis(addressed(config));
  // without a listener the first one would end the process
  client.on('error', noteError);
  if (client instanceof Cluster) client.on('node error', noteError);
  return client;
}

/** Without user and password. */
export function describeRedis({ kind, tls, host, port, database, sentinels }: RedisConfig): string {
  const name = host.includes(':') ? `[${host}]` : host;
  const scheme = tls ? 'rediss' : 'redis';
  if (kind === 'sentinel') return `${scheme}://${name}/${database} of ${sentinels.map((one) => one.host).join(', ')}`;
  return `${scheme}://${name}:${port}${kind === 'cluster' ? ' (cluster)' : `/${database}`}`;
}

const optionsOf = ({ username, password, tls, certificate }: RedisConfig) =>
  ({
    ...(username !== '' && { username }),
    ...(password !== '' && { password }),
    ...(tls && { tls: { rejectUnauthorized: certificate } }),
    // what proxies and servers of all kinds speak
    protocol: 2,
    connectionName: 'modelgate',
    disableClientInfo: true,
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // a server that is still loading says so itself
    enableReadyCheck: false,
    // a failover has made a replica of it
    reconnectOnError: (error: Error) => error.message.includes('READONLY'),
  }) as const satisfies RedisOptions;

function addressed(config: RedisConfig) {
  const { kind, host, port, database: db, sentinels, username, password, tls, certificate } = config;
  const common = { ...optionsOf(config), db, enableOfflineQueue: false, retryStrategy: reconnectAfter };
  if (kind !== 'sentinel') return { ...common, host, port };
  return {
    ...common,
    name: host,
    sentinels: [...sentinels],
    ...(username !== '' && { sentinelUsername: username }),
    ...(password !== '' && { sentinelPassword: password }),
    ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: { rejectUnauthorized: certificate } }),
    sentinelCommandTimeout: CONNECT_MS,
    sentinelRetryStrategy: reconnectAfter,
    // hears of a failover from the Sentinels: a master that is frozen says nothing
    failoverDetector: true,
  };
}

function clusterOf(config: RedisConfig): Cluster {
  const { host, port, tls } = config;
  return new Cluster([{ host, port }], {
    redisOptions: optionsOf(config),
    enableOfflineQueue: false,
    enableReadyCheck: false,
    clusterRetryStrategy: reconnectAfter,
    clusterNodeRetryStrategy: reconnectAfter,
    slotsRefreshTimeout: SILENCE_MS,
    slotsRefreshInterval: 5_000,
    maxRedirections: 3,
    // a certificate names hosts, not addresses
    ...(tls && { dnsLookup: (name: string, done: (error: null, address: string) => void) => done(null, name) }),
  });
}

const CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'it broke the connection off',
  ENOTFOUND: 'this host name has no address',
  EAI_AGAIN: 'this host name has no address at the moment',
  ETIMEDOUT: 'it did not take the connection in time',
  EHOSTUNREACH: 'there is no way to this host',
};

const WORDS: Readonly<Record<string, string>> = {
  WRONGPASS: 'it refuses the user or the password (WRONGPASS)',
  NOAUTH: 'it wants a password (NOAUTH)',
  NOPERM: 'the user may not do what the gate needs (NOPERM)',
  READONLY: 'it is a replica (READONLY)',
  LOADING: 'it is still loading its data (LOADING)',
  OOM: 'its memory is full (OOM)',
  MISCONF: 'it cannot save, and so takes no writes (MISCONF)',
  MOVED: 'it is a cluster (MOVED): REDIS_CLUSTER=true says so',
  CLUSTERDOWN: 'the cluster does not serve all slots (CLUSTERDOWN)',
  MASTERDOWN: 'its master is away (MASTERDOWN)',
  BUSY: 'a script keeps it busy (BUSY)',
};

/** @returns a clause of a closed vocabulary: what a server says may hold anything */
export function redisProblem(error: unknown): string {
  if (!(error instanceof Error)) return 'it failed';
  const { message } = error;
  const code = 'code' in error ? String(error.code) : (/\b(E[A-Z]{5,}|EAI_AGAIN)\b/.exec(message)?.[1] ?? '');
  const word = Object.keys(WORDS).find((known) => new RegExp(`\\b${known}\\b`).test(message));
  const known = (word && WORDS[word]) ?? CODES[code];
  if (known !== undefined) return known;
  if (/sentinel/i.test(message)) return 'no Sentinel names a master';
  if (/certificate|TLS|SSL/i.test(`${code} ${message}`)) return 'its certificate or its TLS is not accepted';
  if (/DB index/i.test(message)) return 'it has no database of this number';
  if (error.name === 'ReplyError') return `it answers with an error (${/^[A-Z]{2,20}\b/.exec(message)?.[0] ?? 'ERR'})`;
  if (/timeout|timed out/i.test(message)) return 'it does not answer';
  return 'it is not connected';
}
