import type { RedisConfig } from '../../../src/config/redis.ts';

/** As the settings make it of the URL of a test's own server. */
export const redisConfigOf = (port: number, more: Partial<RedisConfig> = {}): RedisConfig => ({
  ...{ host: '127.0.0.1', port, username: '', password: '', database: 0, tls: false, certificate: true, secrets: [] },
  ...{ kind: 'single', sentinels: [], keyPrefix: 'modelgate', without: 'local' },
  ...more,
});
