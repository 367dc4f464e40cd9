/** What every answer carries, made of its settings, and what no single one of them shows. */
import type { GivenSettings } from './given.ts';
import { HEADER_SETTINGS } from './header-settings.ts';
import type { ConfigIssue } from './issue.ts';
import { quote } from './issue.ts';
import type { Config, CookieRules, SecurityHeader } from './schema.ts';
import type { SettingName, Values } from './settings.ts';

const SETTING_OF = {
  'x-frame-options': 'MODELGATE_HEADERS_FRAME_OPTIONS',
  'x-content-type-options': 'MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS',
  'x-xss-protection': 'MODELGATE_HEADERS_XSS_PROTECTION',
  'referrer-policy': 'MODELGATE_HEADERS_REFERRER_POLICY',
  'strict-transport-security': 'MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY',
  'permissions-policy': 'MODELGATE_HEADERS_PERMISSIONS_POLICY',
  'cross-origin-resource-policy': 'MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY',
  'cross-origin-opener-policy': 'MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY',
  'cross-origin-embedder-policy': 'MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY',
  'content-security-policy': 'MODELGATE_HEADERS_CONTENT_SECURITY_POLICY',
  'content-security-policy-report-only': 'MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY',
} as const satisfies Record<SecurityHeader, SettingName>;

// the cast: `Object.keys` promises no more than texts
const HEADERS = Object.keys(SETTING_OF) as SecurityHeader[];

/** @returns undefined where a value could not be read, which is an issue of its own */
export function readAnswers(values: Values): Config['answers'] | undefined {
  const backendHeaders = values.MODELGATE_HEADERS_BACKEND;
  const origins = values.CORS_ALLOW_ORIGIN;
  const pairs = HEADERS.flatMap((name): [SecurityHeader, string][] => {
    const value = values[SETTING_OF[name]];
    return value === undefined ? [] : [[name, value]];
  });
  if (backendHeaders === undefined || origins === undefined || pairs.length < HEADERS.length) return undefined;
  // none is missing: the line above has counted them
  const headers = Object.fromEntries(pairs) as Record<SecurityHeader, string>;
  return { origins, headers, backendHeaders, cookies: { session: sessionRules(values), auth: authRules(values) } };
}

function sessionRules(values: Values): CookieRules {
  return { secure: values.WEBUI_SESSION_COOKIE_SECURE ?? false, sameSite: values.WEBUI_SESSION_COOKIE_SAME_SITE };
}

/** As the backend's `env.py` reads them (0.6.18 and 0.12.4): what is not set is taken from the session's. */
function authRules(values: Values): CookieRules {
  const session = sessionRules(values);
  return {
    secure: values.WEBUI_AUTH_COOKIE_SECURE ?? session.secure,
    sameSite: values.WEBUI_AUTH_COOKIE_SAME_SITE ?? session.sameSite,
  };
}

/** @returns one issue for each setting of answers that contradicts another or does nothing */
export function answerContradictions(given: GivenSettings, values: Values): ConfigIssue[] {
  return [
    unheardScheme(given, values),
    nothingToReplace(given, values),
    crossSite('SESSION', given, sessionRules(values)),
    given.has('WEBUI_AUTH_COOKIE_SECURE') || given.has('WEBUI_AUTH_COOKIE_SAME_SITE')
      ? crossSite('AUTH', given, authRules(values))
      : undefined,
  ].filter((issue) => issue !== undefined);
}

/** The gate speaks no TLS itself: without a proxy whose word counts, no request ever came by https. */
function unheardScheme(given: GivenSettings, values: Values): ConfigIssue | undefined {
  const setting = 'MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY';
  const text = given.get(setting)?.text;
  const isOwn = text !== undefined && text !== 'off' && text !== HEADER_SETTINGS[setting].fallback;
  if (!isOwn || text === 'backend' || given.has('MODELGATE_TRUSTED_PROXIES') || values[setting] === undefined)
    return undefined;
  return {
    setting,
    found: `${quote(text)} without MODELGATE_TRUSTED_PROXIES: nobody is believed who says that a request came by https`,
    expected: 'the address of the proxy that speaks TLS',
    example: 'MODELGATE_TRUSTED_PROXIES=10.0.0.0/8',
  };
}

function nothingToReplace(given: GivenSettings, values: Values): ConfigIssue | undefined {
  const own = HEADERS.map((name) => values[SETTING_OF[name]]);
  if (!given.has('MODELGATE_HEADERS_BACKEND') || own.some((value) => value !== 'off' && value !== 'backend'))
    return undefined;
  return {
    setting: 'MODELGATE_HEADERS_BACKEND',
    found: 'a value, but every header is `off` or `backend`',
    expected: 'a header with a value, or it to be absent',
    example: 'MODELGATE_HEADERS_FRAME_OPTIONS=SAMEORIGIN',
  };
}

/** Browsers refuse `SameSite=None` without `Secure`: nobody could sign in. */
function crossSite(
  kind: 'SESSION' | 'AUTH',
  given: GivenSettings,
  { secure, sameSite }: CookieRules,
): ConfigIssue | undefined {
  if (sameSite !== 'none' || secure) return undefined;
  const isGiven = given.has(`WEBUI_${kind}_COOKIE_SAME_SITE`);
  return {
    setting: `WEBUI_${isGiven ? kind : 'SESSION'}_COOKIE_SAME_SITE`,
    found: `"none" where WEBUI_${kind}_COOKIE_SECURE is not true: browsers refuse such a cookie`,
    expected: 'both, or `lax`',
    example: `WEBUI_${kind}_COOKIE_SECURE=true`,
  };
}
