import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config/parse.ts';
import { PROVIDER_SETTINGS } from '../../../src/config/provider-settings.ts';
import { REDIS_SETTINGS } from '../../../src/config/redis-settings.ts';
import { type Config, type Loaded, reload } from '../../../src/config/schema.ts';
import { type SettingName, SETTING_NAMES, isSettingName } from '../../../src/config/settings.ts';
import { USAGE_SETTINGS } from '../../../src/config/usage-settings.ts';

const ORDINARY = {
  MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  DATABASE_URL: 'sqlite:////data/webui.db',
  WEBUI_SECRET_KEY: 'key',
  OPENROUTER_EXTERNAL_USER: 'org',
  ORGANIZATION_NAME: 'Org',
};

/** What the settings of the provider door need beside them. */
const DOOR = {
  MODELGATE_PROVIDER_PORT: '8082',
  MODELGATE_PROVIDER_ACCESS_KEY: 'the-access-key-before-of-more-than-32-letters',
  MODELGATE_PROVIDERS: 'https://openrouter.ai/api/v1 http://ollama:11434',
  OPENROUTER_API_KEY: 'sk-or-before',
};

const REDIS = { REDIS_URL: 'redis://before:6379' };

/** The backend puts its URL together of these. */
const PARTS = {
  DATABASE_TYPE: 'postgresql',
  DATABASE_USER: 'openwebui',
  DATABASE_PASSWORD: 'before',
  DATABASE_HOST: 'db',
  DATABASE_PORT: '5432',
  DATABASE_NAME: 'openwebui',
};
const OF_POSTGRESQL: readonly SettingName[] = ['DATABASE_SCHEMA', 'MODELGATE_POLICY_MAX_AGE'];

const ordinaryFor = (name: SettingName): Record<string, string> => {
  // beside one of its own the backend's is not read
  if (name !== 'MODELGATE_REDIS_URL' && Object.hasOwn(REDIS_SETTINGS, name)) return { ...ORDINARY, ...REDIS };
  if (Object.hasOwn(PARTS, name) || OF_POSTGRESQL.includes(name)) return { ...ORDINARY, ...PARTS };
  return Object.hasOwn({ ...PROVIDER_SETTINGS, ...USAGE_SETTINGS }, name) ? { ...ORDINARY, ...DOOR } : ORDINARY;
};

function loadedFrom(environment: Record<string, string>, key = 'key'): Loaded<Config> {
  const parsed = parseConfig({
    environment,
    directory: '/srv',
    readSecret: (path) => (path === '/srv/keys.yaml' ? `ollama:11434: sk-${key}` : key),
  });
  if (parsed.issues !== undefined) throw new Error(JSON.stringify(parsed.issues));
  return parsed;
}

/** For each setting a value that is none of its defaults. */
const OTHER = {
  ...(
    JSON.parse(readFileSync(new URL('../../config/everything-set.case.json', import.meta.url), 'utf8')) as {
      environment: Record<string, string>;
    }
  ).environment,
  DATABASE_URL: 'sqlite:////other/webui.db',
  ...{ DATABASE_TYPE: 'postgres', DATABASE_USER: 'other', DATABASE_PASSWORD: 'after', DATABASE_HOST: 'other' },
  ...{ DATABASE_PORT: '6432', DATABASE_NAME: 'other', DATABASE_SCHEMA: 'other', MODELGATE_POLICY_MAX_AGE: '25ms' },
  MODELGATE_EARLY_HINTS: 'forward',
  ENABLE_MODEL_FILTER: 'false',
  BYPASS_MODEL_ACCESS_CONTROL: 'true',
  MODELGATE_HEADERS_BACKEND: 'replaced',
  WEBUI_SESSION_COOKIE_SECURE: 'true',
  WEBUI_AUTH_COOKIE_SECURE: 'true',
  WEBUI_SESSION_COOKIE_SAME_SITE: 'lax',
  WEBUI_AUTH_COOKIE_SAME_SITE: 'lax',
  // with the key that stands beside it
  MODELGATE_PROVIDERS: 'https://openrouter.ai/api/v1',
  MODELGATE_PROVIDER_NO_STREAM_OPTIONS: 'ollama:11434',
};

/** What goes by another name, or can be said only together with it. */
const LEFT_OUT: readonly SettingName[] = [
  'DATA_DIR',
  'DATABASE_ENABLE_IAM_TOKEN_AUTH',
  'WEBUI_SECRET_KEY_FILE',
  'WEBUI_JWT_SECRET_KEY',
  'MODELGATE_PROVIDER_ACCESS_KEY_FILE',
  'MODELGATE_KEYS_SECRET_FILE',
];

describe('a configuration that is read again', () => {
  test('and is the same changes nothing', () => {
    const running = loadedFrom(ORDINARY);
    const { loaded, changed, waiting } = reload(running, loadedFrom(ORDINARY));
    expect([changed, waiting]).toEqual([[], []]);
    expect(loaded).toEqual(running);
  });

  test.each(SETTING_NAMES.filter((name) => !LEFT_OUT.includes(name)))('%s is in force, or said to wait', (name) => {
    const value = Object.entries(OTHER).find(([other]) => other === name)?.[1];
    const before = ordinaryFor(name);
    const running = loadedFrom(before);
    const read = loadedFrom({ ...before, [name]: value ?? (name.startsWith('MODELGATE_HEADERS_') ? 'off' : '') });
    const { loaded, changed, waiting } = reload(running, read);
    expect([...changed, ...waiting]).toEqual([name]);
    // all of what is in force is that of the file, and all of what waits is as before
    expect(loaded.config).toEqual((changed.length > 0 ? read : running).config);
    // the next time it is no news, or still waits
    const again = reload(loaded, read);
    expect([again.changed, again.waiting]).toEqual([[], waiting]);
  });

  test('knows another key in the same file by what it holds', () => {
    const { WEBUI_SECRET_KEY: _, ...rest } = ORDINARY;
    const environment = { ...rest, WEBUI_SECRET_KEY_FILE: '/run/key' };
    const { waiting } = reload(loadedFrom(environment), loadedFrom(environment, 'another'));
    expect(waiting).toEqual(['WEBUI_SECRET_KEY_FILE']);
  });

  test('knows other keys of the provider door in the same files', () => {
    const { MODELGATE_PROVIDER_ACCESS_KEY: key, ...rest } = DOOR;
    const access = { ...ORDINARY, ...rest, MODELGATE_PROVIDER_ACCESS_KEY_FILE: 'access' };
    const keys = { ...ORDINARY, ...DOOR, MODELGATE_PROVIDER_KEYS_FILE: 'keys.yaml' };
    const waitingOf = (environment: Record<string, string>) =>
      reload(loadedFrom(environment, key), loadedFrom(environment, `${key}-after`)).waiting;
    expect(waitingOf(access)).toEqual(['MODELGATE_PROVIDER_ACCESS_KEY_FILE']);
    expect(waitingOf(keys)).toEqual(['MODELGATE_PROVIDER_KEYS_FILE']);
    const { loaded } = reload(loadedFrom(access, key), loadedFrom(access, `${key}-after`));
    expect(loaded.config.provider?.accessKeys).toEqual([key]);
    const secret = { ...ORDINARY, ...DOOR, MODELGATE_KEYS_SECRET_FILE: 'secret' };
    expect(waitingOf(secret)).toEqual(['MODELGATE_KEYS_SECRET_FILE']);
  });
});

test('every setting but those that hold a place or a key is tried', () => {
  expect(Object.keys(OTHER).filter((name) => !isSettingName(name))).toEqual([]);
  expect(SETTING_NAMES.length - LEFT_OUT.length).toBeGreaterThan(40);
});
