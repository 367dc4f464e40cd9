/**
 * Security headers and cookies of every answer. The defaults change nothing for the page of Open WebUI (0.6.18 and
 * 0.12.4, in Chromium); `config/README.md` says why some are `backend`.
 */
import { z } from 'zod';
import * as header from './header-value.ts';
import { choice, flag, setting, settingWithDefault } from './setting.ts';
import { boolean, origins } from './value.ts';

function headerSetting(
  name: string,
  schema: z.ZodType<string, string>,
  [fallback, example, expected, meaning = '']: readonly [string, string, string, string?],
) {
  const text = meaning === '' ? `\`${name}\`.` : `\`${name}\`. ${meaning}`;
  return settingWithDefault(schema, fallback, {
    expected: `${expected}; \`off\` or \`backend\``,
    example,
    meaning: text,
  });
}

/** In any letter case, as the backend takes it. */
const sameSiteWord = z
  .string()
  .toLowerCase()
  .pipe(z.enum(['lax', 'strict', 'none']));

const sameSite = (meaning: string) =>
  setting(sameSiteWord, { expected: '`lax`, `strict` or `none`', example: 'lax', meaning });

const PERMISSIONS = [
  ...['camera=(self)', 'display-capture=(self)', 'geolocation=(self)', 'hid=()', 'magnetometer=()'],
  ...['microphone=(self)', 'midi=()', 'payment=()', 'serial=()', 'usb=()', 'xr-spatial-tracking=()'],
].join(', ');

const CSP_EXAMPLE = "frame-ancestors 'self'; object-src 'none'";

export const HEADER_SETTINGS = {
  MODELGATE_HEADERS_BACKEND: choice(
    ['wins', 'replaced'],
    "Whether the backend's own line of a header below stays, where it sends one. For each header: a value, `off` (in no answer: nginx adds it, say), or `backend` (the backend's own alone).",
  ),
  MODELGATE_HEADERS_FRAME_OPTIONS: headerSetting('X-Frame-Options', header.frameOptions, [
    'SAMEORIGIN',
    'DENY',
    '`SAMEORIGIN` or `DENY`',
    'Other sites cannot show the page in a frame.',
  ]),
  MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: headerSetting('X-Content-Type-Options', header.contentTypeOptions, [
    'nosniff',
    'nosniff',
    '`nosniff`',
  ]),
  MODELGATE_HEADERS_XSS_PROTECTION: headerSetting('X-XSS-Protection', header.xssProtection, [
    '1; mode=block',
    '0',
    '`0`, `1` or `1; mode=block`',
    "The guide's value; browsers of today ignore it, and the advice of today is `0`.",
  ]),
  MODELGATE_HEADERS_REFERRER_POLICY: headerSetting('Referrer-Policy', header.referrerPolicy, [
    'strict-origin-when-cross-origin',
    'no-referrer',
    'a referrer policy, or several separated by commas',
  ]),
  MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY: headerSetting('Strict-Transport-Security', header.transportSecurity, [
    'max-age=31536000',
    'max-age=63072000; includeSubDomains',
    '`max-age=SECONDS`, with `; includeSubDomains` and `; preload` if meant',
    'Only where a trusted proxy says `X-Forwarded-Proto: https`.',
  ]),
  MODELGATE_HEADERS_PERMISSIONS_POLICY: headerSetting('Permissions-Policy', header.permissionsPolicy, [
    PERMISSIONS,
    'camera=(self), usb=()',
    'permissions such as `camera=(self)` separated by commas',
    'Leaves to the page whatever Open WebUI uses.',
  ]),
  MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY: headerSetting('Cross-Origin-Resource-Policy', header.resourcePolicy, [
    'same-site',
    'same-origin',
    '`same-origin`, `same-site` or `cross-origin`',
    'Always `cross-origin` on `/pyodide/`, which the page loads into a frame without an origin.',
  ]),
  MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY: headerSetting('Cross-Origin-Opener-Policy', header.openerPolicy, [
    'backend',
    'same-origin-allow-popups',
    '`same-origin-allow-popups`, `same-origin`, `noopener-allow-popups` or `unsafe-none`',
    'Any value but `unsafe-none` cuts off pages that open this one: the import from openwebui.com, the sign-in to OneDrive.',
  ]),
  MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY: headerSetting('Cross-Origin-Embedder-Policy', header.embedderPolicy, [
    'backend',
    'credentialless',
    '`require-corp`, `credentialless` or `unsafe-none`',
    'Breaks pictures and frames of other sites.',
  ]),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: headerSetting('Content-Security-Policy', header.contentSecurityPolicy, [
    'backend',
    CSP_EXAMPLE,
    'directives separated by semicolons',
  ]),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY: headerSetting(
    'Content-Security-Policy-Report-Only',
    header.contentSecurityPolicy,
    ['backend', `${CSP_EXAMPLE}; report-uri /csp`, 'directives separated by semicolons', 'Try a policy with it first.'],
  ),
  CORS_ALLOW_ORIGIN: settingWithDefault(origins, '*', {
    expected: '`*`, or origins separated by semicolons',
    example: 'https://intranet.company.com;https://wiki.company.com',
    meaning:
      "The backend's own setting: origins whose pages may read its answers, and so the gate's own. `Retry-After`, `RateLimit…` and `X-Request-Id` are exposed to them.",
  }),
  WEBUI_SESSION_COOKIE_SECURE: flag(
    'false',
    "The backend's own setting: `true` adds `Secure` to its session cookies, which browsers then send and keep over https only. `false` takes none away.",
  ),
  WEBUI_SESSION_COOKIE_SAME_SITE: sameSite(
    "The backend's own setting: `SameSite` of its session cookies. `strict` breaks OAuth sign-in. Not set: as the backend writes it.",
  ),
  WEBUI_AUTH_COOKIE_SECURE: setting(boolean, {
    expected: '`true` or `false`',
    example: 'true',
    meaning:
      "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SECURE` decides.",
  }),
  WEBUI_AUTH_COOKIE_SAME_SITE: sameSite(
    "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SAME_SITE` decides.",
  ),
} as const;
