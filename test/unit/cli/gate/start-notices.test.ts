import { describe, expect, test } from 'vitest';
import { startNotices } from '../../../../src/gate/weaknesses.ts';
import { parseConfig } from '../../../../src/config/parse.ts';

function noticesOf(environment: Record<string, string>): readonly string[] {
  const parsed = parseConfig({
    environment: {
      MODELGATE_UPSTREAM_URL: 'http://open-webui:8080',
      DATABASE_URL: 'sqlite:////data/webui.db',
      WEBUI_SECRET_KEY: 'long-enough-for-every-check',
      ...environment,
    },
    directory: '/srv',
    readSecret: () => '',
  });
  if (parsed.issues !== undefined) throw new Error(JSON.stringify(parsed.issues));
  return startNotices(parsed.config);
}

describe('what is said at every start', () => {
  test('is nothing where everything is enforced', () => expect(noticesOf({})).toEqual([]));

  test.each<[string, Record<string, string>, RegExp]>([
    ['a bypass', { BYPASS_MODEL_ACCESS_CONTROL: 'true' }, /SWITCHED OFF by BYPASS_MODEL_ACCESS_CONTROL/],
    ['a filter that is off', { ENABLE_MODEL_FILTER: 'false' }, /SWITCHED OFF by ENABLE_MODEL_FILTER/],
    ['report mode', { MODELGATE_MODE: 'report' }, /only logged/],
    ["the backend's published key", { WEBUI_SECRET_KEY: 't0p-s3cr3t' }, /published default/],
    ['a short key', { WEBUI_SECRET_KEY: 'short' }, /fewer than 16/],
    [
      'a short secret of signed users',
      {
        MODELGATE_PROVIDER_PORT: '8081',
        MODELGATE_PROVIDER_ACCESS_KEY: 'long-enough-for-every-check-of-keys',
        MODELGATE_PROVIDERS: 'http://ollama:11434',
        FORWARD_USER_INFO_HEADER_JWT_SECRET: 'short',
      },
      /fewer than 16/,
    ],
    ['Secure cookies without a proxy', { WEBUI_SESSION_COOKIE_SECURE: 'true' }, /browsers drop them/],
    ['proxies that are every address', { MODELGATE_TRUSTED_PROXIES: '10.0.0.0/8,0.0.0.0/0' }, /every address/],
  ])('names %s', (_name, environment, said) => {
    expect(noticesOf(environment)).toEqual([expect.stringMatching(said)]);
  });

  test('says nothing of Secure cookies behind a proxy, nor of cookies that are not', () => {
    expect(noticesOf({ WEBUI_SESSION_COOKIE_SECURE: 'true', MODELGATE_TRUSTED_PROXIES: '10.0.0.0/8' })).toEqual([]);
    expect(noticesOf({ WEBUI_SESSION_COOKIE_SECURE: 'true', WEBUI_AUTH_COOKIE_SECURE: 'false' })).toEqual([]);
  });

  test('shows no key', () => expect(noticesOf({ WEBUI_SECRET_KEY: 'zzz-key' }).join()).not.toContain('zzz'));
});
