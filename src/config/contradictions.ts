/**
 * What no single value shows: two settings that contradict each other, and settings without effect.
 * Only values that could be read are compared, so that one mistake is not reported twice.
 */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { type ConfigIssue, quote } from './issue.ts';
import type { RawSettings } from './raw-settings.ts';
import { type Values, describeSetting, SETTING_NAMES } from './settings.ts';

type Readable = Partial<Values>;
type Environment = Readonly<Record<string, string | undefined>>;

/** @returns one issue for each contradiction */
export function contradictions(settings: RawSettings, values: Readable, environment: Environment): ConfigIssue[] {
  return [
    ownAddress(values),
    sameAddress(values),
    ...organization(settings),
    reportBesideBypass(values),
    otherDatabase(environment),
    twoDatabases(settings, values),
    unreachedLimit(settings, values),
    unknownScheme(settings, values),
    nothingToReplace(settings, values),
    ...crossSiteCookies(settings, values),
  ].filter((issue) => issue !== undefined);
}

const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/** The gate and Open WebUI both choose 8080: started side by side on one machine, the gate would call itself. */
function ownAddress({
  MODELGATE_UPSTREAM_URL: url,
  MODELGATE_HOST: host,
  MODELGATE_PORT: port,
}: Readable): ConfigIssue | undefined {
  if (url === undefined || host === undefined || port === undefined || port === 0) return undefined;
  const upstreamPort = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const here = isLoopback(url.hostname) && (WILDCARDS.has(host) || isLoopback(host));
  const named = url.hostname === host || url.hostname === `[${host}]` || WILDCARDS.has(url.hostname);
  if (upstreamPort !== port || !(here || named)) return undefined;
  return {
    setting: 'MODELGATE_UPSTREAM_URL',
    found: `${quote(url.origin)}, where the gate itself listens (MODELGATE_HOST ${host}, MODELGATE_PORT ${port})`,
    expected: 'the address of Open WebUI; move the gate or the backend to another port',
    example: 'MODELGATE_PORT=8000',
  };
}

function sameAddress(values: Readable): ConfigIssue | undefined {
  const {
    MODELGATE_HOST: host,
    MODELGATE_PORT: port,
    MODELGATE_ADMIN_HOST: adminHost,
    MODELGATE_ADMIN_PORT: adminPort,
  } = values;
  if (host === undefined || adminHost === undefined || port === undefined || port === 0 || port !== adminPort)
    return undefined;
  if (host !== adminHost && !WILDCARDS.has(host) && !WILDCARDS.has(adminHost)) return undefined;
  return {
    setting: 'MODELGATE_ADMIN_PORT',
    found: `${port}, which is MODELGATE_PORT too`,
    expected: 'a port of its own for the admin listener',
    example: 'MODELGATE_ADMIN_PORT=9464',
  };
}

/** Linking needs both an id and a name; enrolment needs an organization. */
function organization(settings: RawSettings): ConfigIssue[] {
  const hasId = settings.has('OPENROUTER_EXTERNAL_USER');
  const issues: ConfigIssue[] = [];
  if (hasId !== settings.has('ORGANIZATION_NAME')) {
    const [present, absent] = hasId
      ? ['OPENROUTER_EXTERNAL_USER', 'ORGANIZATION_NAME']
      : ['ORGANIZATION_NAME', 'OPENROUTER_EXTERNAL_USER'];
    issues.push({
      setting: absent,
      found: `nothing, beside ${present}`,
      expected: 'both, or neither of them',
      example: hasId ? 'ORGANIZATION_NAME=Company Name' : 'OPENROUTER_EXTERNAL_USER=mai_client_companyname',
    });
  }
  if (settings.has('MODELGATE_AUTO_ENROLL') && !hasId) {
    issues.push({
      setting: 'MODELGATE_AUTO_ENROLL',
      found: 'a value, but no organization to enrol users in',
      expected: 'OPENROUTER_EXTERNAL_USER and ORGANIZATION_NAME beside it, or it to be absent',
      example: 'OPENROUTER_EXTERNAL_USER=mai_client_companyname',
    });
  }
  return issues;
}

function reportBesideBypass(values: Readable): ConfigIssue | undefined {
  const isBypassed = values.BYPASS_MODEL_ACCESS_CONTROL === true;
  if (values.MODELGATE_MODE !== 'report' || !(isBypassed || values.ENABLE_MODEL_FILTER === false)) return undefined;
  const name = isBypassed ? 'BYPASS_MODEL_ACCESS_CONTROL=true' : 'ENABLE_MODEL_FILTER=false';
  return {
    setting: 'MODELGATE_MODE',
    found: `"report" beside ${name}, which judges nothing that could be reported`,
    expected: 'one of the two',
    example: 'MODELGATE_MODE=report',
  };
}

/** With these the backend builds its own URL and never looks at `DATABASE_URL` (Open WebUI from 0.6.23). */
function otherDatabase(environment: Environment): ConfigIssue | undefined {
  const type = environment['DATABASE_TYPE'];
  if (type === undefined || type === '' || type === 'sqlite') return undefined;
  return {
    setting: 'DATABASE_TYPE',
    source: 'environment',
    found: `${quote(type)}: the backend then uses another database than the one named here`,
    expected: 'the backend to use a plain SQLite file, the only database that is supported yet',
    example: 'DATABASE_URL=sqlite:////app/backend/data/webui.db',
  };
}

/** `DATA_DIR` holds more than the database, so one `.env` may set both; in one YAML file one of them does nothing. */
function twoDatabases(settings: RawSettings, values: Readable): ConfigIssue | undefined {
  const url = settings.get('DATABASE_URL');
  const directory = settings.get('DATA_DIR');
  if (url === undefined || directory === undefined || directory.source === 'environment') return undefined;
  if (values.DATABASE_URL !== undefined && resolve(directory.text, 'webui.db') === resolve(values.DATABASE_URL))
    return undefined;
  return {
    setting: 'DATA_DIR',
    source: directory.source,
    found: 'a value without effect, because DATABASE_URL is set',
    expected: 'one of the two',
    example: `DATA_DIR: ${directory.text}`,
  };
}

/** A chat is an API request too: where a user may send fewer of those, a limit on chats is never reached. */
function unreachedLimit(
  settings: RawSettings,
  { MODELGATE_LIMIT_CHAT: chat, MODELGATE_LIMIT_USER: user }: Readable,
): ConfigIssue | undefined {
  const text = settings.get('MODELGATE_LIMIT_CHAT');
  if (text === undefined || chat === undefined || chat === 'off' || user === undefined || user === 'off') {
    return undefined;
  }
  if (perSecond(chat) <= perSecond(user) || chat.burst < user.burst) return undefined;
  const { count, windowSeconds, burst } = user;
  return {
    setting: 'MODELGATE_LIMIT_CHAT',
    source: text.source,
    found: `${quote(text.text)}, which is never reached: MODELGATE_LIMIT_USER (${count}/${windowSeconds}s:${burst}) refuses before`,
    expected: 'fewer chats than API requests of a user, or `off`',
    example: 'MODELGATE_LIMIT_CHAT=off',
  };
}

const perSecond = (limit: { readonly count: number; readonly windowSeconds: number }): number =>
  limit.count / limit.windowSeconds;

/** The gate speaks no TLS itself: without a trusted proxy no request is known to come by https. */
function unknownScheme(settings: RawSettings, values: Readable): ConfigIssue | undefined {
  const setting = 'MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY';
  const value = values[setting];
  const text = settings.get(setting)?.text;
  if (value === undefined || text === undefined || text === describeSetting(setting).fallback) return undefined;
  if (value === 'off' || value === 'backend' || settings.has('MODELGATE_TRUSTED_PROXIES')) return undefined;
  return {
    setting,
    found: `${quote(text)} without MODELGATE_TRUSTED_PROXIES: no proxy is trusted to say that a request came by https`,
    expected: 'the address of the proxy that speaks TLS',
    example: 'MODELGATE_TRUSTED_PROXIES=10.0.0.0/8',
  };
}

function nothingToReplace(settings: RawSettings, values: Readable): ConfigIssue | undefined {
  const headers = SETTING_NAMES.filter((name) => /^MODELGATE_HEADERS_(?!BACKEND$)/.test(name));
  const hasValue = headers.some((name) => values[name] !== 'off' && values[name] !== 'backend');
  if (!settings.has('MODELGATE_HEADERS_BACKEND') || hasValue) return undefined;
  return {
    setting: 'MODELGATE_HEADERS_BACKEND',
    found: 'a value, but every header is `off` or `backend`',
    expected: 'a header with a value, or it to be absent',
    example: 'MODELGATE_HEADERS_FRAME_OPTIONS=SAMEORIGIN',
  };
}

/** Browsers refuse `SameSite=None` without `Secure`: sign-in would fail. */
function crossSiteCookies(settings: RawSettings, values: Readable): (ConfigIssue | undefined)[] {
  const { WEBUI_SESSION_COOKIE_SECURE: secure = false, WEBUI_SESSION_COOKIE_SAME_SITE: sameSite } = values;
  const { WEBUI_AUTH_COOKIE_SECURE: authSecure = secure, WEBUI_AUTH_COOKIE_SAME_SITE: authSameSite = sameSite } =
    values;
  const hasAuth = settings.has('WEBUI_AUTH_COOKIE_SECURE') || settings.has('WEBUI_AUTH_COOKIE_SAME_SITE');
  return [
    sameSite === 'none' && !secure ? crossSite('SESSION', 'SESSION') : undefined,
    hasAuth && authSameSite === 'none' && !authSecure
      ? crossSite('AUTH', settings.has('WEBUI_AUTH_COOKIE_SAME_SITE') ? 'AUTH' : 'SESSION')
      : undefined,
  ];
}

/** @param kind of the cookie @param cause where its `SameSite` comes from */
const crossSite = (kind: 'SESSION' | 'AUTH', cause: 'SESSION' | 'AUTH'): ConfigIssue => ({
  setting: `WEBUI_${cause}_COOKIE_SAME_SITE`,
  found: `"none" where WEBUI_${kind}_COOKIE_SECURE is not true: browsers refuse such a cookie`,
  expected: 'both, or `lax`',
  example: `WEBUI_${kind}_COOKIE_SECURE=true`,
});
