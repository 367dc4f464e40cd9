import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config/parse.ts';
import { type Config, type Loaded, reload } from '../../../src/config/schema.ts';
import { type SettingName, SETTING_NAMES, isSettingName } from '../../../src/config/settings.ts';

const ORDINARY = {
  MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  DATABASE_URL: 'sqlite:////data/webui.db',
  WEBUI_SECRET_KEY: 'key',
  OPENROUTER_EXTERNAL_USER: 'org',
  ORGANIZATION_NAME: 'Org',
};

function loadedFrom(environment: Record<string, string>, key = 'key'): Loaded<Config> {
  const parsed = parseConfig({ environment, directory: '/srv', readSecret: () => key });
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
  MODELGATE_EARLY_HINTS: 'forward',
  ENABLE_MODEL_FILTER: 'false',
  BYPASS_MODEL_ACCESS_CONTROL: 'true',
  MODELGATE_HEADERS_BACKEND: 'replaced',
  WEBUI_SESSION_COOKIE_SECURE: 'true',
  WEBUI_AUTH_COOKIE_SECURE: 'true',
  WEBUI_SESSION_COOKIE_SAME_SITE: 'lax',
  WEBUI_AUTH_COOKIE_SAME_SITE: 'lax',
};

/** What goes by another name, or can be said only together with it. */
const LEFT_OUT: readonly SettingName[] = ['DATA_DIR', 'WEBUI_SECRET_KEY_FILE', 'WEBUI_JWT_SECRET_KEY'];

describe('a configuration that is read again', () => {
  const running = loadedFrom(ORDINARY);

  test('and is the same changes nothing', () => {
    const { loaded, changed, waiting } = reload(running, loadedFrom(ORDINARY));
    expect([changed, waiting]).toEqual([[], []]);
    expect(loaded).toEqual(running);
  });

  test.each(SETTING_NAMES.filter((name) => !LEFT_OUT.includes(name)))('%s is in force, or said to wait', (name) => {
    const value = Object.entries(OTHER).find(([other]) => other === name)?.[1];
    const read = loadedFrom({ ...ORDINARY, [name]: value ?? (name.startsWith('MODELGATE_HEADERS_') ? 'off' : '') });
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
});

test('every setting but those that hold a place or a key is tried', () => {
  expect(Object.keys(OTHER).filter((name) => !isSettingName(name))).toEqual([]);
  expect(SETTING_NAMES.length - LEFT_OUT.length).toBeGreaterThan(40);
});
