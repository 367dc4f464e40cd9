/** Settings that contradict each other or have no effect. Only values that could be read are compared: no mistake is reported twice. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { type ConfigIssue, quote } from './issue.ts';
import type { RateLimit } from './schema.ts';
import { type RawSettings, type Values, SETTING_NAMES, describeSetting } from './settings.ts';

type Check = (values: Partial<Values>, settings: RawSettings) => ConfigIssue | false;

export const contradictions = (settings: RawSettings, values: Partial<Values>) =>
  CHECKS.map((check) => check(values, settings)).filter((issue) => issue !== false);

const WILDCARDS: readonly string[] = ['0.0.0.0', '::'];

/** Whether two listeners with one port would meet. */
export const meet = (host: string, other: string): boolean =>
  host === other || WILDCARDS.includes(host) || WILDCARDS.includes(other);

function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/** Whether the gate itself answers there. */
export function isOwnAddress(url: URL, host: string, port: number): boolean {
  const upstreamPort = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const here = isLoopback(url.hostname) && (WILDCARDS.includes(host) || isLoopback(host));
  const named = url.hostname === host || url.hostname === `[${host}]` || WILDCARDS.includes(url.hostname);
  return upstreamPort === port && (here || named);
}

const perSecond = ({ count, windowSeconds }: RateLimit): number => count / windowSeconds;

/** Browsers refuse `SameSite=None` without `Secure`: sign-in would fail. */
const crossSite = (kind: 'SESSION' | 'AUTH', cause: 'SESSION' | 'AUTH') => ({
  setting: `WEBUI_${cause}_COOKIE_SAME_SITE`,
  found: `"none" where WEBUI_${kind}_COOKIE_SECURE is not true: browsers refuse such a cookie`,
  expected: 'both, or `lax`',
  example: `WEBUI_${kind}_COOKIE_SECURE=true`,
});

const ID_EXAMPLE = 'OPENROUTER_EXTERNAL_USER=mai_client_companyname';

const CHECKS: readonly Check[] = [
  // the gate and Open WebUI both choose 8080
  ({ MODELGATE_UPSTREAM_URL: url, MODELGATE_HOST: host, MODELGATE_PORT: port = 0 }) =>
    url !== undefined &&
    host !== undefined &&
    port !== 0 &&
    isOwnAddress(url, host, port) && {
      setting: 'MODELGATE_UPSTREAM_URL',
      found: `${quote(url.origin)}, where the gate itself listens (MODELGATE_HOST ${host}, MODELGATE_PORT ${port})`,
      expected: 'the address of Open WebUI; move the gate or the backend to another port',
      example: 'MODELGATE_PORT=8000',
    },
  ({ MODELGATE_HOST: host, MODELGATE_PORT: port = 0, MODELGATE_ADMIN_HOST: adminHost, MODELGATE_ADMIN_PORT: other }) =>
    host !== undefined &&
    adminHost !== undefined &&
    port !== 0 &&
    port === other &&
    meet(host, adminHost) && {
      setting: 'MODELGATE_ADMIN_PORT',
      found: `${port}, which is MODELGATE_PORT too`,
      expected: 'a port of its own for the admin listener',
      example: 'MODELGATE_ADMIN_PORT=9464',
    },
  // linking needs both an id and a name; enrolment needs an organization
  (_, settings) => {
    const hasId = settings.has('OPENROUTER_EXTERNAL_USER');
    const [present, absent, example] = hasId
      ? ['OPENROUTER_EXTERNAL_USER', 'ORGANIZATION_NAME', 'ORGANIZATION_NAME=Company Name']
      : ['ORGANIZATION_NAME', 'OPENROUTER_EXTERNAL_USER', ID_EXAMPLE];
    if (hasId === settings.has('ORGANIZATION_NAME')) return false;
    return { setting: absent, found: `nothing, beside ${present}`, expected: 'both, or neither of them', example };
  },
  (_, settings) =>
    settings.has('MODELGATE_AUTO_ENROLL') &&
    !settings.has('OPENROUTER_EXTERNAL_USER') && {
      setting: 'MODELGATE_AUTO_ENROLL',
      found: 'a value, but no organization to enrol users in',
      expected: 'OPENROUTER_EXTERNAL_USER and ORGANIZATION_NAME beside it, or it to be absent',
      example: ID_EXAMPLE,
    },
  ({ MODELGATE_MODE: mode, BYPASS_MODEL_ACCESS_CONTROL: isBypassed, ENABLE_MODEL_FILTER: isFiltered }) =>
    mode === 'report' &&
    (isBypassed === true || isFiltered === false) && {
      setting: 'MODELGATE_MODE',
      found: `"report" beside ${isBypassed === true ? 'BYPASS_MODEL_ACCESS_CONTROL=true' : 'ENABLE_MODEL_FILTER=false'}, which judges nothing that could be reported`,
      expected: 'one of the two',
      example: 'MODELGATE_MODE=report',
    },
  // `DATA_DIR` holds more than the database, so one `.env` may set both; in one YAML file one of them does nothing
  ({ DATABASE_URL: url }, settings) => {
    const { text, source } = settings.get('DATA_DIR') ?? { text: '', source: 'environment' };
    if (!settings.has('DATABASE_URL') || source === 'environment' || url?.engine === 'postgresql') return false;
    if (url !== undefined && resolve(text, 'webui.db') === resolve(url.path)) return false;
    const found = 'a value without effect, because DATABASE_URL is set';
    return { setting: 'DATA_DIR', source, found, expected: 'one of the two', example: `DATA_DIR: ${text}` };
  },
  // a chat is an API request too: where a user may send fewer of those, a limit on chats is never reached
  ({ MODELGATE_LIMIT_CHAT: chat = 'off', MODELGATE_LIMIT_USER: user = 'off' }, settings) => {
    const typed = settings.get('MODELGATE_LIMIT_CHAT');
    if (typed === undefined || chat === 'off' || user === 'off') return false;
    if (perSecond(chat) <= perSecond(user) || chat.burst < user.burst) return false;
    return {
      setting: 'MODELGATE_LIMIT_CHAT',
      source: typed.source,
      found: `${quote(typed.text)}, which is never reached: MODELGATE_LIMIT_USER (${user.count}/${user.windowSeconds}s:${user.burst}) refuses before`,
      expected: 'fewer chats than API requests of a user, or `off`',
      example: 'MODELGATE_LIMIT_CHAT=off',
    };
  },
  // the gate speaks no TLS itself: without a trusted proxy no request is known to come by https
  ({ MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY: value = 'off' }, settings) => {
    const setting = 'MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY';
    const { fallback = '' } = describeSetting(setting);
    const { text = fallback } = settings.get(setting) ?? {};
    if (/^(?:off|backend)$/.test(value) || text === fallback || settings.has('MODELGATE_TRUSTED_PROXIES')) return false;
    return {
      setting,
      found: `${quote(text)} without MODELGATE_TRUSTED_PROXIES: no proxy is trusted to say that a request came by https`,
      expected: 'the address of the proxy that speaks TLS',
      example: 'MODELGATE_TRUSTED_PROXIES=10.0.0.0/8',
    };
  },
  (values, settings) =>
    settings.has('MODELGATE_HEADERS_BACKEND') &&
    SETTING_NAMES.filter((name) => /^MODELGATE_HEADERS_(?!BACKEND$)/.test(name)).every(
      (name) => values[name] === 'off' || values[name] === 'backend',
    ) && {
      setting: 'MODELGATE_HEADERS_BACKEND',
      found: 'a value, but every header is `off` or `backend`',
      expected: 'a header with a value, or it to be absent',
      example: 'MODELGATE_HEADERS_FRAME_OPTIONS=SAMEORIGIN',
    },
  ({ WEBUI_SESSION_COOKIE_SECURE: secure, WEBUI_SESSION_COOKIE_SAME_SITE: sameSite }) =>
    sameSite === 'none' && secure !== true && crossSite('SESSION', 'SESSION'),
  (values, settings) => {
    const { WEBUI_AUTH_COOKIE_SECURE: secure = values.WEBUI_SESSION_COOKIE_SECURE } = values;
    const { WEBUI_AUTH_COOKIE_SAME_SITE: sameSite = values.WEBUI_SESSION_COOKIE_SAME_SITE } = values;
    const hasOwn = settings.has('WEBUI_AUTH_COOKIE_SAME_SITE');
    const isAsked = hasOwn || settings.has('WEBUI_AUTH_COOKIE_SECURE');
    return isAsked && sameSite === 'none' && secure !== true && crossSite('AUTH', hasOwn ? 'AUTH' : 'SESSION');
  },
];
